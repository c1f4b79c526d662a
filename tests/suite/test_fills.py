"""The numbers behind a line: the same for ever, as its tokens say, fit for their oracle.

`python -m tests.suite.test_fills` prints the table GOLDEN anew. A change of it changes what every
line ever reported means: that is a new token with a default, never an edit of a fill.
"""

import functools
import math
import sys
import zlib

import pytest
import torch

from gptq_fuzz.case.axes import FILLS, bands_of, codes_in_words
from gptq_fuzz.case.backend import PLAIN_LIMITS
from gptq_fuzz.case.case import Case
from gptq_fuzz.problem import philox
from gptq_fuzz.problem.operands import Operands
from gptq_fuzz.problem.philox import TENSORS, first_words, philox2x32, random_words
from gptq_fuzz.problem.rounding import BF16, F16, FORMATS, last_digit, round_to, spacing
from gptq_fuzz.search.crossings import always_asked
from tests.suite.helpers import Judged, problem

LARGE = "m16-n32-k256-b4-g32-{}-s3"
EXACT = [
    "m5-n16-k16-b2-g3-act",
    "m5-n8-k512-b4-g32",
    "m5-n4-k1056-b8-g48-zmax",
    "m5-n4-k40000-b8-gall",
    "m5-n64-k16-b8-g5-act-bwd",
    "m5-n8-k64-b4-g5-bf16-sbf16",
    "m5-n8-k64-b4-g5-f32-sf32",
]


# Random123 1.09, tests/kat_vectors, philox2x32 10
KNOWN_ANSWERS = [
    ((0x00000000, 0x00000000), 0x00000000, (0xFF1DAE59, 0x6CD10DF2)),
    ((0xFFFFFFFF, 0xFFFFFFFF), 0xFFFFFFFF, (0x2C3F628B, 0xAB4FD7AD)),
    ((0x243F6A88, 0x85A308D3), 0x13198A2E, (0xDD7CE038, 0xF62A4C12)),
]
BITS = (8, 4, 2, 3)
GOLDEN = [
    # line, and the CRC-32 of the bytes of left, qweight, qzeros, scales, g_idx, bias
    ("m3-n8-k12-b8-g5-act", "98f72d57 4d475a40 c0b20381 dff96ad7 43021f71 -"),
    ("m3-n8-k40-b4-g16-rev-sparse-s1", "d8fc8011 64afa182 4fae1b4c 310c95d9 431ebaa1 -"),
    ("m3-n16-k32-b2-g7-one-onehot-s2", "ae7293c7 5edf384d 0f2545b9 35ccd0e6 c2a8fa9d -"),
    ("m3-n8-k16-b4-g4-skew-lanes-s3", "87007d88 a521e39a d848e830 65fe2917 9601d611 -"),
    ("m3-n8-k16-b4-gall-gap-v2-randn-s4", "e2c7efe4 86dbb5aa 59bfcc8d a3a0f8c1 758d6336 -"),
    ("m3-n4-k8-b8-g3-z0-pad3-big-s5", "48a1350b d9209498 bb99ff8a 8d05b12f a18c7ce3 -"),
    ("m3-n16-k16-b2-g5-none-xt-tiny-s6", "f0b26b63 6dee5538 0dddfe5c 1dedae04 - -"),
    ("m4-n8-k32-b4-g8-zsym-dim3-nonfinite-s8", "20f10cac 29f1c716 c70633f4 f2800634 9f1ec608 -"),
    ("m2-n8-k8-b4-g3-bf16-sbf16-bias-s9", "df37db65 fd58bc69 9f56d772 0adddcdd a18c7ce3 a3fd8549"),
    ("m2-n8-k8-b4-g7-f32-sf32-wstr-onehot-s10", "b0f7d7f8 88755f2e 6670a822 1b55feec a1b632c8 -"),
    ("m2-n24-k8-b8-g7-act-bwd-s12345678901", "5bab54cb baa36225 14859322 c4e4705f a1b632c8 -"),
    ("m0-n4-k4-b8-gall", "00000000 88a230e6 5fcfdfd1 3804fbe3 ecbb4b55 -"),
    ("m3-n8-k24-b4-g5-perm-zeq-ties-s1", "018607b4 7537fcd2 dd2d447b 758384bb 314e4d8a -"),
    ("m2-n16-k48-b2-gall-bf16-ties-s4", "e7f866c0 bb24ed2d cc112dbf 3ddd1366 8bff08f2 -"),
    ("m5-n8-k64-b4-g16-shard-wide-s2", "b623dc6e b4080434 64be24c6 6d168101 d3c9872c -"),
    ("m4-n4-k32-b8-g3-odd-bf16-sbf16-wide-s3", "0cc76ae7 cef2ce69 ebff885e 4a288aba a825410c -"),
    ("m3-n8-k8-b8-g3-shard-bwd-wide-s5", "9aa7fcb3 010bb015 714f2f14 61857b6a 0148dce8 -"),
    ("m5-n8-k64-b4-g16-act-cancel-s1", "dfa82e22 8c4d037b be0fd7f7 6e34374c 43d5bc5e -"),
    (
        "m3-n16-k16-b2-gall-bf16-bias-cancel-s2",
        "ba384c57 83b61f23 bf07d5a6 ebd4b2fe 758d6336 7ddb1b8f",
    ),
    ("m2-n16-k8-b8-g3-zsym-bwd-cancel-s3", "ed2857ae 572209f1 2cb1783d fd9056d3 a18c7ce3 -"),
    ("m3-n8-k32-b4-g8-act-pruned-s1", "23e7477f 36a1ea5b f96d8e4b 031f288a e7e5694d -"),
    ("m2-n16-k16-b2-g5-bf16-sbf16-bwd-pruned-s2", "a024d206 81611643 629c5c1f 998c50b1 bd004cdd -"),
    (
        "m3-n8-k32-b4-g8-zhead-bias-masked-s1",
        "7ea8f363 36a1ea5b 2a1c3ddd d80233d6 9f1ec608 1ad5d0d3",
    ),
    ("m3-n80-k16-b2-g4-act-masked-s2", "34ac4e59 c8c55dca a44a409d d44220cb d7d7d11b -"),
    ("m2-n8-k8-b8-g3-bwd-masked-s3", "0bf04860 7843933f 69501485 0eede31c a18c7ce3 -"),
    ("m2-n8-k64-b4-g16-recur-s3", "0c5b9716 a6d7b678 d848e830 147c57ac 92255e18 -"),
    ("m2-n8-k64-b4-g16-recur-randn-s4", "690ed557 6233e91d 5383737d e4b5f58b 6e9c4bcc -"),
    ("m2-n8-k32-b4-g8-zband-s24", "adb2938a 32086528 65e39c00 705130ae 9f1ec608 -"),
    ("m1-n8-k16-b8-g4-zband-randn-s170", "6aceaccf 444a8bd7 111ceec5 bd9bb3fa b21772f9 -"),
    ("m1-n32-k64-b3-g16-zband-s19", "4ccdf33a 4005f279 7a5057e4 61e13ace 48081899 -"),
    ("m2-n16-k32-b2-g8-ztern-s1", "2b838837 dd8889c8 1493cdaf eb747214 9f1ec608 -"),
    ("m1-n8-k16-b8-g4-ztern-wide-s3", "53b97cc1 15b79ef5 ba1c4cee 9b1a04e9 b21772f9 -"),
    ("m1-n8-k16-b8-g4-zfew-s5", "83ac3845 9d3f774a a3d824cb 746bd706 b21772f9 -"),
    ("m1-n8-k16-b8-g4-zfew-s1", "b308ca9f 6092718c cdbbe5f4 79ebc499 b21772f9 -"),
    ("m1-n8-k16-b8-g4-zfew-s2", "9b11eadd 126ad161 b74ff3ad b3f01d9e b21772f9 -"),
    ("m1-n8-k16-b8-g4-zfew-s8", "6f7b1df5 871b0d1d ba1c4cee d73d9bc2 b21772f9 -"),
    ("m1-n8-k16-b8-g4-zfew-s4", "9ebd223a a6e31657 13e630fe d2fd43f3 b21772f9 -"),
    ("m8-n8-k16-b4-g4-act-bias-nans-s11", "aed2a70d a17dc1d3 26080f34 ec065a6d 39041cb1 72885b03"),
    ("m4-n8-k16-b4-g8-bf16-sf32-nans-s3", "990eeea4 a521e39a 36f039f5 3ca8f26e 207b7fe5 -"),
    ("m3-n8-k8-b8-g3-f32-bwd-nans-s2", "5b3cdb42 be68e544 068686ae 84053df4 a18c7ce3 -"),
    ("m3-n8-k32-b4-g8-act-bias-heavy-s1", "269e6bbc 36a1ea5b f96d8e4b f132bc49 e7e5694d 5d2238de"),
    ("m2-n8-k16-b8-g4-bf16-sf32-heavy-s2", "d776575b 88f66572 b74ff3ad 7854b80a b21772f9 -"),
    ("m3-n8-k8-b8-g3-f32-bwd-heavy-s3", "7e2b654b 7843933f 69501485 1cdb7325 a18c7ce3 -"),
    ("m2-n16-k32-b2-g8-zfour-s1", "2b838837 f16f3bf6 1493cdaf eb747214 9f1ec608 -"),
    ("m1-n8-k16-b8-g4-zfour-randn-s3", "82f68734 30b0ccec ba1c4cee 15ec5f6c b21772f9 -"),
    ("m2-n16-k32-b4-g8-znear-s5", "9fd727ec 7764a820 c66e65d5 53d58854 9f1ec608 -"),
    ("m1-n8-k16-b8-g4-znear-randn-s24", "206b8a17 4aaf3860 c286fde9 145464cc b21772f9 -"),
    ("m2-n16-k32-b4-g8-zdead-s1", "2b838837 9896fb7f 888f2dcd eb747214 9f1ec608 -"),
    ("m1-n8-k16-b8-g4-zdead-randn-s2", "f7085602 2253a361 b74ff3ad d4b2bf09 b21772f9 -"),
    ("m1-n16-k16-b4-g8-zdead-s3", "220118f7 44aaccb5 c662edef 9ba9ab8a 207b7fe5 -"),
    ("m3-n72-k32-b8-g8-coarse-s5", "c1d76a75 f5c90c2e 014ee174 896e1cfe 9f1ec608 -"),
    ("m2-n8-k16-b8-g4-bf16-sf32-coarse-s23", "80c6e754 d83b8dd4 18553c10 e1411bac b21772f9 -"),
    ("m4-n8-k32-b4-g8-act-steep-s1", "c3313949 36a1ea5b f96d8e4b d0fce6fc e7e5694d -"),
    ("m3-n8-k16-b8-g4-bf16-sf32-steep-s3", "44d37110 d202699b 5c0852bc b609ff58 b21772f9 -"),
    ("m3-n8-k8-b8-g3-bwd-steep-s2", "96363ce3 be68e544 068686ae 5d3f8bf9 a18c7ce3 -"),
    ("m4-n16-k32-b4-g8-act-varied-s1", "af0f4fd0 39667281 c09eddba 3beb8778 e7e5694d -"),
    ("m3-n8-k16-b8-g4-bf16-sf32-varied-s3", "44cd953b 7f8c4398 87c7dc4a 7272fafc b21772f9 -"),
    ("m3-n8-k8-b8-g3-bwd-varied-s2", "b1e3e7ed be68e544 068686ae 4dd0d355 a18c7ce3 -"),
    ("m4-n8-k32-b4-g8-act-alike-s1", "ee349106 36a1ea5b f96d8e4b ffda2d25 e7e5694d -"),
    ("m3-n8-k16-b8-g4-bf16-sf32-alike-s3", "58b64338 d202699b 5c0852bc 291b2b64 b21772f9 -"),
    ("m3-n8-k8-b8-g3-bwd-alike-s2", "e5b0224f be68e544 068686ae 2eeefad0 a18c7ce3 -"),
    ("m2-n8-k64-b4-g16-begun-s3", "0c5b9716 a6d7b678 8298a6de d275487a efc1c919 -"),
    ("m1-n32-k96-b3-g40-begun-randn-s12", "f582b709 e9ea8605 7a281c63 98e351ca 918e7b0b -"),
    ("m1-n32-k96-b3-g40-recur-s2", "675b7ec1 57b82e4c 4d9a24b9 db99897b e52bf35e -"),
    ("m2-n8-k8-b4-g3-bf16-biaslow-s9", "df37db65 fd58bc69 9f56d772 03b7e062 a18c7ce3 68ac5755"),
    ("m5-n8-k24-b4-g8-opposed-s1", "0c7cf7fc 8d924e37 4fae1b4c 79a79d44 0d0a82a4 -"),
    ("m5-n8-k24-b8-g8-act-opposed-s3", "a3eec60f baa85d16 69501485 b23e8f49 2c442aad -"),
    ("m3-n8-k32-b4-g16-faint-s1", "f6cd6912 36a1ea5b 4ebf2560 fda159e9 8b4c38e2 -"),
]


def checksums(case_line):
    """One hexadecimal CRC-32 for each operand, `-` for one that is absent."""
    operands = Operands(Case.parse(case_line), "cpu")
    tensors = {"left": operands.left, **operands.weights()}
    names = ("left", "qweight", "qzeros", "scales", "g_idx", "bias")
    return " ".join("-" if tensors[name] is None else checksum(tensors[name]) for name in names)


def checksum(tensor):
    raw = tensor.contiguous().view(torch.uint8).numpy().tobytes()
    return f"{zlib.crc32(raw):08x}"


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN_ANSWERS)
def test_the_generator_gives_the_published_answers(counter, key, words):
    assert philox2x32(*counter, key) == words
    first, second = philox2x32(*(torch.tensor([word]) for word in counter), key)
    assert (first.item(), second.item()) == words


def test_the_number_of_a_tensor_is_fixed():
    assert list(TENSORS.items()) == [
        *(("codes", 1), ("zeros", 2), ("scales", 3), ("x", 4)),
        *(("bias", 5), ("g_idx", 6), ("rows", 7), ("cols", 8)),
    ]


def test_a_word_depends_on_its_place_alone():
    small, large = (
        random_words(7, "x", rows, columns, "cpu") for rows, columns in ((3, 5), (8, 13))
    )
    assert torch.equal(small[0], large[0][:3, :5])
    assert torch.equal(small[1], large[1][:3, :5])


@pytest.mark.parametrize("other", [(8, "x"), (7, "codes"), (7 + 2**32, "x")])
def test_seeds_and_tensors_do_not_share_words(other):
    assert not torch.equal(
        random_words(7, "x", 4, 4, "cpu")[0], random_words(*other, 4, 4, "cpu")[0]
    )


@pytest.mark.parametrize(("rows", "columns"), [(3, 5), (300, 130)])
def test_the_first_words_alone_are_the_same(rows, columns):
    first, _ = random_words(7, "codes", rows, columns, "cpu")
    assert torch.equal(first_words(7, "codes", rows, columns, "cpu"), first)


@pytest.mark.parametrize(("case_line", "wanted"), GOLDEN)
def test_a_line_means_the_same_bytes_for_ever(case_line, wanted):
    assert checksums(case_line) == wanted
    assert {Case.parse(other).fill for other, _ in GOLDEN} == set(FILLS)


WITHOUT_EQUALS = ("lanes", "nonfinite", "opposed", "nans")  # labelled by N; NaN equals nothing


@pytest.mark.parametrize("fill", [fill for fill in FILLS if fill not in WITHOUT_EQUALS])
def test_fewer_rows_and_columns_keep_the_rest(fill):
    large, small = (problem(f"{size}-k96-b4-g32-{fill}-s5")[1] for size in ("m9-n64", "m4-n24"))
    assert torch.equal(small.left, large.left[:4])
    for name in ("codes", "zeros", "scales"):
        assert torch.equal(getattr(small, name), getattr(large, name)[:, :24]), name


@pytest.mark.parametrize("fill", ["randn", "big", "tiny"])
def test_a_shorter_reduction_keeps_the_rest(fill):
    large, small = (problem(f"m4-n16-{size}-b4-g32-{fill}-s5")[1] for size in ("k128", "k64"))
    assert torch.equal(small.left, large.left[:, :64])
    for name, rows in (("codes", 64), ("zeros", 2), ("scales", 2), ("g_idx", 64)):
        assert torch.equal(getattr(small, name), getattr(large, name)[:rows]), name


@pytest.mark.parametrize("bits", BITS)
def test_all_codes_and_zero_points_occur(bits):
    values = problem(f"m1-n128-k128-b{bits}-g4")[1]
    assert torch.equal(values.codes.unique(), torch.arange(2**bits))
    assert torch.equal(values.zeros.unique(), torch.arange(2**bits))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("bits", BITS)
def test_the_smallest_problem_has_the_extreme_codes_and_zero_points(bits, seed):
    word = codes_in_words(bits)
    values = problem(f"m1-n{word}-k{word}-b{bits}-gall-s{seed}")[1]
    top = 2**bits - 1
    assert values.codes[:2, :2].tolist() == [[top, 0], [0, top]]
    assert values.zeros[0, :2].tolist() == [0, top]


G_IDX = [
    ("seq", [0, 0, 0, 1, 1, 1, 2, 2]),
    ("none", [0, 0, 0, 1, 1, 1, 2, 2]),
    ("rev", [2, 2, 1, 1, 1, 0, 0, 0]),
    ("one", [0, 0, 0, 0, 0, 0, 0, 0]),
    ("skew", [0, 0, 0, 0, 0, 1, 1, 2]),
    ("gap", [0, 0, 0, 0, 0, 0, 2, 2]),
    ("shard", [2, 2, 2, 3, 3, 3, 4, 4]),
    ("odd", [1, 1, 1, 3, 3, 3, 5, 5]),
]


@pytest.mark.parametrize(("kind", "rows"), G_IDX)
def test_g_idx_is_what_its_token_says(kind, rows):
    assert problem(f"m1-n8-k8-b4-g3-{kind}")[1].g_idx.tolist() == rows


@pytest.mark.parametrize(("kind", "groups"), [("seq", 3), ("shard", 6), ("odd", 7)])
@pytest.mark.parametrize("seed", [0, 1])
def test_scales_have_a_row_for_each_group_with_rows_or_without(kind, groups, seed):
    case, values = problem(f"m1-n8-k8-b4-g3-{kind}-s{seed}")
    assert case.groups == len(values.scales) == len(values.zeros) == groups


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("rows", [1, 3, 5, 16])
def test_perm_keeps_groups_whole_in_an_order_that_neither_rises_nor_falls(rows, seed):
    case, values = problem(f"m1-n8-k40-b4-g{rows}-perm-s{seed}")
    order = values.g_idx.unique_consecutive()
    assert sorted(order.tolist()) == list(range(case.groups))
    assert torch.equal(values.g_idx, order.repeat_interleave(rows)[:40])
    assert {-1, 1} == set(order.diff().sign().tolist())


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("size", ["k12-b8-g4", "k96-b4-g16", "k96-b4-g40", "k192-b3-g5"])
def test_recur_has_whole_words_of_groups_of_which_some_come_again(size, seed):
    case, values = problem(f"m1-n32-{size}-recur-s{seed}")
    words = values.g_idx.unflatten(0, (-1, case.unit))
    assert (words == words[:, :1]).all()
    assert values.g_idx.max() < case.groups
    pieces = words[:, 0].unique_consecutive()
    assert len(pieces) > 2
    assert len(pieces.unique()) < len(pieces) or seed % 3 == 2  # shuffled, which may show less


def test_recur_is_what_its_seed_says():
    words = {seed: problem(f"m1-n8-k64-b4-g16-recur-s{seed}")[1].g_idx[::8] for seed in (0, 1, 7)}
    assert words[0].tolist() == [0, 0, 1, 1, 2, 2, 3, 0]
    assert words[1].tolist() == words[7].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert problem("m1-n8-k128-b4-g32-recur-s4")[1].g_idx[::8].tolist() == [*range(4)] * 4


@pytest.mark.parametrize("bits", BITS[:3])
def test_zeq_has_words_and_rows_of_weights_that_are_0_and_words_of_one_code(bits):
    case, values = problem(f"m1-n64-k{96 * 32 // bits}-b{bits}-g40-zeq")
    due = values.zeros[values.g_idx]
    vanishes = (values.codes == due) & (due > 0) & (due < case.maxq)
    words = values.codes.unflatten(0, (-1, case.unit))
    is_one_code = (words == words[:, :1]).all(1)
    assert 0.1 < vanishes.unflatten(0, (-1, case.unit)).all(1).float().mean() < 0.35
    assert 0.2 < is_one_code.float().mean() < 0.6
    assert 0.05 < (values.codes == due).all(1).float().mean() < 0.2


@pytest.mark.parametrize(("kind", "value"), [("zsym", 8), ("z0", 0), ("zmax", 15)])
def test_fixed_zero_points_are_what_their_token_says(kind, value):
    assert problem(f"m1-n8-k32-b4-g8-{kind}")[1].zeros.unique().tolist() == [value]


@pytest.mark.parametrize("bits", BITS)
def test_zband_has_each_span_for_a_layer_a_column_and_a_group(bits):
    top, spans = 2**bits - 1, bands_of(bits)
    assert {*spans} == {s for j in range(8) for s in (2**j, 2**j - 1) if 0 < s < top}
    met = set()
    for seed in range(16 * len(spans)):
        zeros = problem(f"m1-n64-k128-b{bits}-g16-zband-s{seed}")[1].zeros
        of = [zeros, zeros, zeros.T, zeros][seed % 4]
        of = of.flatten().unsqueeze(0) if seed % 4 < 2 else of
        widths, ends = (of.amax(1) - of.amin(1)).unique(), (int(of.min()), int(of.max()))
        assert len(widths) == 1
        assert ends[0] >= 0
        assert ends[1] <= top
        met.add((int(widths), seed % 4, ends[0] == 0 or ends[1] == top))
    assert met >= {(span, form, True) for span in spans for form in range(4)}
    assert not all(is_at_an_end for _, _, is_at_an_end in met)


def test_each_band_is_always_asked_at_each_place_in_each_number_of_bits():
    asked = (case for case in always_asked(PLAIN_LIMITS) if case.zeros == "zband" and case.n == 64)
    found = {}
    for case in asked:
        zeros = problem(str(case))[1].zeros
        ends = (int(zeros.min()), int(zeros.max()))
        found.setdefault((case.bits, ends[1] - ends[0]), set()).add(ends)
    assert {*found} >= {(bits, span) for bits in (8, 4, 2) for span in bands_of(bits)}
    assert {(0, 4), (6, 10), (11, 15)} <= found[4, 4]
    assert {(0, 16), (120, 136), (239, 255)} <= found[8, 16]
    assert (120, 135) in found[8, 15]


@pytest.mark.parametrize("fill", ["exact", "onehot", "wide", "cancel", "nonfinite"])
@pytest.mark.parametrize("bits", BITS)
def test_ztern_has_no_code_0_beside_zero_points_in_the_middle(bits, fill):
    middle = 2 ** (bits - 1)
    for seed in range(8):
        for direction in ("", "-bwd"):
            line = f"m2-n64-k256-b{bits}-g32-ztern{direction}-{fill}-s{seed}".replace("-exact", "")
            values = problem(line)[1]
            assert values.zeros.unique().tolist() == [middle]
            assert values.codes.min() >= 1
        if fill == "exact":
            wanted = range(middle - 1, middle + 2) if seed % 4 == 3 else range(1, 2 * middle)
            assert values.codes.unique().tolist() == [*wanted]


@pytest.mark.parametrize("bits", BITS)
def test_zfew_has_what_its_seed_leaves_of_codes(bits):
    top, few, middle = 2**bits - 1, 2 ** ((bits + 1) // 2), 2 ** (bits - 1)
    left = (range(few), range(few), range(0, top, 2), range(top), (0, top))
    for seed in range(10):
        values = problem(f"m1-n128-k256-b{bits}-g4-zfew-s{seed}")[1]
        assert values.codes.unique().tolist() == [*left[seed % 5]]
        drawn, fixed = (range(few), few // 2) if seed % 5 == 0 else (range(top + 1), middle)
        assert values.zeros.unique().tolist() == ([*drawn] if seed < 5 else [fixed])


@pytest.mark.parametrize("bits", BITS)
def test_znear_has_both_ends_of_what_fewer_bits_hold_and_one_more(bits):
    ends = set()
    for seed in range(6 * (bits - 1)):
        values = problem(f"m1-n32-k64-b{bits}-g32-znear-s{seed}")[1]
        assert values.codes.min() >= 0
        assert values.codes.max() < 2**bits
        less = values.codes - values.zeros[values.g_idx]
        ends.add((less.min().item(), less.max().item()))
    powers = [2**place for place in range(bits - 1)]
    sides = [(-power, power) for power in powers]
    assert ends == {*sides, *((a, b - 1) for a, b in sides), *((a + 1, b) for a, b in sides)}


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32"])
def test_coarse_has_scales_that_are_alike_in_blocks_and_powers_of_two(dtype):
    found = set()
    for seed in range(40):
        scales = problem(f"m1-n576-k128-b4-g16-{dtype}-s{dtype}-coarse-s{seed}")[1].scales
        width = (128, 64, 32, 16, 2)[seed // 4 % 5]
        alike = (576, width, 1, 576)[seed % 4]
        assert all(len(part.unique()) == 1 for row in scales for part in row.split(alike))
        assert (len(scales.unique(dim=0)) == 1) == (seed % 2 == 0)
        assert torch.all(scales > 0)
        if seed >= 20:
            assert torch.all(torch.frexp(scales).mantissa == 0.5)
            found |= {*scales.flatten().tolist()}
    assert {2.0**-24, 2.0**-20, 1.0} <= found


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32"])
def test_steep_has_scales_of_any_size_side_by_side(dtype):
    scales = problem(f"m1-n64-k256-b4-g16-{dtype}-s{dtype}-steep-s1")[1].scales
    for dim in (0, 1):
        assert torch.all(scales.amax(dim) > 2**20 * scales.amin(dim))


def test_varied_has_terms_that_cancel_beside_small_scales_and_others():
    _, values = problem("m32-n16-k256-b4-g64-act-varied")
    terms = (values.codes - values.zeros[values.g_idx]) * values.scales[values.g_idx]
    whole, half = values.left @ terms, values.left[:, :128] @ terms[:128]
    cancels = [4, 5]
    assert (half.abs().mean(0)[cancels] > 1.2 * whole.abs().mean(0)[cancels]).all()
    assert half[:, [5]].abs().max() > 65504 / 4
    smallest = values.scales.abs().amin(0)
    assert (smallest[[2, 8]] < 2.0**-21).all()
    assert (smallest[[1, 7]] < 2.0**-13).all()
    assert (smallest[[0, 3, 6, 9]] >= 2.0**-9).all()


@pytest.mark.parametrize(("seed", "dim"), [(0, 0), (1, 1), (2, None)])
@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32"])
def test_alike_has_scales_a_few_steps_apart(seed, dim, dtype):
    scales = problem(f"m1-n64-k256-b4-g16-{dtype}-s{dtype}-alike-s{seed}")[1].scales
    least, most = scales.aminmax(dim=dim) if dim is not None else scales.aminmax()
    steps = (most - least) / most / 2.0 ** -min(FORMATS[dtype].digits, 11)
    assert ((steps > 0) & (steps <= 6)).all()
    other = scales.aminmax(dim=1 - dim) if dim is not None else None
    assert other is None or (other.max > 2 * other.min).all()


def test_steep_has_rows_of_x_of_one_element_or_of_one_group():
    _, values = problem("m32-n8-k256-b4-g16-act-steep-s1")
    for row in values.left:
        met = row.nonzero().flatten()
        assert len(values.g_idx[met].unique()) == 1
    assert {1} < {len(row.nonzero()) for row in values.left}


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f32"])
def test_a_low_bias_has_all_digits_of_its_dtype(dtype):
    values = problem(f"m1-n64-k8-b4-gall-{dtype}-biaslow")[1]
    assert torch.equal(round_to(values.bias, FORMATS[dtype]), values.bias)
    assert {-1, 1} == {*values.bias.sign().tolist()}
    assert 2.0**-14 <= values.bias.abs().min() < values.bias.abs().max() < 2.0**-11
    shorter = round_to(values.bias, F16)
    assert torch.equal(shorter, values.bias) == (dtype != "f32")


def test_coarse_has_rows_of_x_that_are_full_in_some_blocks_of_64_and_0_in_others():
    left = problem("m64-n8-k512-b4-g64-coarse-s1")[1].left
    counts = (left != 0).unflatten(1, (-1, 64)).sum(2)
    assert {*counts.unique().tolist()} == {0, 1, 64}
    assert torch.all((counts.sum(1) == 1) | (counts == 64).any(1))


@pytest.mark.parametrize("bits", BITS)
def test_zdead_has_columns_words_or_groups_of_zeros_and_others(bits):
    for seed in range(6):
        case, values = problem(f"m1-n192-k128-b{bits}-g32-zdead-s{seed}")
        dead = values.codes == values.zeros[values.g_idx]
        if seed % 3 == 2:
            whole = dead.unflatten(0, (4, -1)).all(2).all(1)
        else:
            whole = dead.unflatten(1, (-1, case.unit if seed % 3 else 1)).all(2).all(0)
        assert whole.any()
        assert not whole.all()


@pytest.mark.parametrize("bits", BITS)
def test_zfour_leaves_two_weights_of_four_at_most_or_one_of_eight(bits):
    middle, places = 2 ** (bits - 1), set()
    for seed in range(8):
        values = problem(f"m1-n64-k256-b{bits}-g32-zfour-s{seed}")[1]
        assert values.zeros.unique().tolist() == [middle]
        fours = (values.codes != middle).unflatten(0, (-1, 4))
        if seed % 4 == 3:
            assert 0.02 < fours.float().mean() < 0.13
            continue
        assert {0, 1, 2} == {*fours.sum(1).unique().tolist()}
        places |= {*map(tuple, fours.transpose(1, 2).flatten(0, 1).tolist())}
    assert len(places) == 11


@pytest.mark.parametrize("size", [1, 8, 32, 128])
def test_begun_is_a_shard_whose_first_group_has_rows_elsewhere(size):
    begins = set()
    for seed in range(21):
        case, values = problem(f"m1-n8-k256-b4-g{size}-begun-s{seed}")
        counts = values.g_idx.bincount(minlength=case.groups)
        assert torch.equal(values.g_idx, values.g_idx.sort().values)
        first = int(values.g_idx[0])
        filled = counts[counts > 0]
        assert first < 3
        assert filled[1:-1].unique().tolist() in ([size], [])
        begins.add((first, int(counts[first])))
    assert len(begins) == (3 if size == 1 else 21)


def test_act_shuffles_the_sequential_g_idx():
    g_idx = problem("m1-n8-k64-b4-g5-act")[1].g_idx
    assert torch.equal(g_idx.sort().values, torch.arange(64) // 5)
    assert not torch.equal(g_idx, torch.arange(64) // 5)


def products(case, values):
    """[M, J, R] float64: the terms of each output, and the magnitudes that may not overflow."""
    g_idx = values.g_idx
    codes, zeros, scales = values.codes, values.zeros[g_idx], values.scales[g_idx]
    weight, larger = (codes - zeros) * scales, (codes + zeros) * scales
    if case.backward:
        weight, larger = weight.T, larger.T
    left = values.left[:, None, :]
    return left * weight.T[None], left.abs() * larger.T[None]


@pytest.mark.parametrize("case_line", EXACT)
def test_exact_sums_stay_below_the_steps_of_a_float32_accumulator(case_line):
    case, values = problem(case_line)
    terms, magnitudes = products(case, values)
    step = values.scales.min(0).values
    step = step.min() if case.backward else step[:, None]
    assert (magnitudes / step).sum(2).max() < 2**24
    assert (terms / step).frac().abs().max() == 0
    assert terms.sum(2).abs().max() < 65504
    # and whatever the codes are
    longest = (values.left != 0).sum(1).max() * values.left.abs().max()
    spread = (values.scales.max(0).values / values.scales.min(0).values).max()
    assert longest * 2 * case.maxq * spread < 2**24


@pytest.mark.parametrize("case_line", EXACT)
def test_exact_sums_are_exact_in_float32_in_any_order(case_line):
    terms = products(*problem(case_line))[0]
    order = torch.randperm(terms.shape[2], generator=torch.Generator().manual_seed(1))
    for arranged in (terms, terms.flip(2), terms[:, :, order]):
        assert torch.equal(arranged.float().cumsum(2).double(), arranged.cumsum(2))


@pytest.mark.parametrize("case_line", EXACT[1:3])
def test_exact_sums_show_a_float16_accumulator(case_line):
    terms = products(*problem(case_line))[0]
    assert not torch.equal(float16_sums(terms)[..., -1], round_to(terms.sum(2), F16))


def float16_sums(terms):
    """Every partial sum of an accumulator that rounds to float16 at each step."""
    sums, total = [], torch.zeros_like(terms[..., 0])
    for term in terms.unbind(-1):
        total = round_to(total + round_to(term, F16), F16)
        sums.append(total)
    return torch.stack(sums, -1)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("direction", ["", "-bwd"])
def test_sparse_sums_are_exact_even_in_float16(bits, direction):
    for seed in range(4):
        terms = products(*problem(f"m9-n32-k64-b{bits}-g5-act{direction}-sparse-s{seed}"))[0]
        assert torch.equal(float16_sums(terms), terms.cumsum(-1))
        assert torch.equal(float16_sums(terms.flip(-1)), terms.flip(-1).cumsum(-1))


def test_sparse_rows_touch_the_first_and_the_last_of_the_reduction():
    touched = (problem("m16-n8-k72-b4-g32-sparse")[1].left != 0).any(0)
    assert touched[[0, 7, 8, 31, 32, 63, 64, 71]].all()


@pytest.mark.parametrize("fill", ["onehot", "lanes"])
def test_one_hot_rows_have_one_non_zero_and_meet_the_edges(fill):
    left = problem(f"m40-n8-k72-b4-g32-{fill}")[1].left
    assert ((left != 0).sum(1) == 1).all()
    assert (left != 0).any(0)[[0, 7, 8, 31, 32, 63, 64, 71]].all()


@pytest.mark.parametrize("dtype", ["f16", "f32"])
def test_one_hot_mantissas_are_too_long_for_bfloat16(dtype):
    values = problem(f"m40-n8-k72-b4-g8-{dtype}-s{dtype}-onehot")[1]
    left = values.left[values.left != 0]
    for numbers in (left[left.abs() > 2**-13], values.scales[values.scales.abs() > 2**-13]):
        assert numbers.numel() > 10
        assert (round_to(numbers, BF16) != numbers).all()


def test_one_hot_has_subnormal_scales_and_rows():
    values = problem(LARGE.format("onehot").replace("m16", "m64"))[1]
    assert (values.scales.abs() < 2**-14).any()
    assert ((values.left != 0) & (values.left.abs() < 2**-14)).any()


def test_lanes_tell_the_scales_of_neighbours_apart():
    scales = problem("m1-n16-k32-b4-g8-lanes")[1].scales
    assert scales.unique().numel() == scales.numel() == 64


def test_tiny_scales_and_products_reach_the_subnormals():
    values, out = problem(LARGE.format("tiny"))[1], Judged(LARGE.format("tiny")).exact.abs()
    assert (values.scales > 0).all()
    assert (values.scales < 2**-14).any()
    assert ((out > 0) & (out < 2**-14)).any()


def test_big_outputs_lie_on_both_sides_of_overflow_and_weights_below_it():
    case_line = LARGE.format("big")
    out = Judged(case_line).exact.abs()
    assert (out > 65520).any()
    assert (out < 65504).any()
    case, values = problem(case_line)
    assert (case.maxq * values.scales).max() <= 65504


PRUNED = ("", "-act", "-holes", "-bf16-sbf16", "-f32-sf32", "-bwd", "-act-f32-bwd")


@pytest.mark.parametrize("tokens", PRUNED)
@pytest.mark.parametrize("seed", [0, 1])
def test_pruned_x_is_large_where_scales_are_0_and_too_small_beside_it_elsewhere(tokens, seed):
    case, values = problem(f"m5-n32-k64-b4-g16{tokens}-pruned-s{seed}")
    weight = (values.codes - values.zeros[values.g_idx]) * values.scales[values.g_idx]
    weight = weight if not case.backward else weight.T
    is_large = values.left.abs() >= 2**15
    assert is_large.any(1).all()
    assert not weight[is_large.any(0)].any()
    small = values.left.abs()[(values.left != 0) & ~is_large]
    assert small.max() < 1
    together = (values.left.abs().amax(1, keepdim=True) + values.left)[~is_large]
    assert (together.float().double() != together).float().mean() > 0.8
    assert weight.any(0).all()


@pytest.mark.parametrize("tokens", ["-one", "-zcol", "-zlay"])
def test_nothing_is_pruned_where_nothing_would_be_left(tokens):
    assert problem(f"m5-n32-k64-b4-g16{tokens}-pruned")[1].left.abs().max() < 1


@pytest.mark.parametrize("seed", range(12))
def test_nonfinite_has_a_special_value_where_all_rows_are_one(seed):
    values = problem(f"m5-n8-k16-b4-gall-bcast-nonfinite-s{seed}")[1]
    assert not (torch.isfinite(values.left).all() and torch.isfinite(values.scales).all())


@pytest.mark.parametrize("seed", range(3))
def test_nonfinite_has_special_values_and_finite_outputs(seed):
    case_line = f"m16-n32-k64-b4-g32-nonfinite-s{seed}"
    values, out = problem(case_line)[1], Judged(case_line).exact
    assert torch.isfinite(values.left).all() == (seed == 1)
    assert torch.isfinite(values.scales).all() == (seed == 0)
    assert torch.isfinite(out).any()
    assert not torch.isfinite(out).all()


def bits_of(tensor):
    whole = {2: torch.int16, 4: torch.int32}[tensor.element_size()]
    mask = (1 << 8 * tensor.element_size()) - 1
    return [number & mask for number in tensor[torch.isnan(tensor)].view(whole).tolist()]


@pytest.mark.parametrize(
    ("dtype", "quiet", "small", "every"),
    [
        ("f16", 0x7E00, 0x7C01, 0x7FFF),
        ("bf16", 0x7FC0, 0x7F81, 0x7FFF),
        ("f32", 0x7FC00000, 0x7F802000, 0x7FFFFFFF),
    ],
)
def test_nans_has_nan_of_every_form_in_x_scales_and_bias(dtype, quiet, small, every):
    sign = 0x80000000 if dtype == "f32" else 0x8000
    wanted = {form | more for form in (quiet, small, every) for more in (0, sign)}
    found = {"left": set(), "scales": set(), "bias": set()}
    for seed in range(24):
        line = f"m7-n16-k32-b4-g8-{dtype}-s{dtype}-bias-nans-s{seed}"
        operands = Operands(Case.parse(line), "cpu")
        for name, forms in found.items():
            forms.update(bits_of(operands.guarded[name].view))
    assert found == dict.fromkeys(found, wanted)


def test_nans_has_one_in_most_rows_beside_zeros_of_either_sign():
    operands = Operands(Case.parse("m64-n16-k64-b4-g8-nans-s1"), "cpu")
    x = operands.left
    counts = torch.isnan(x).sum(1)
    assert {*counts.tolist()} == {0, 1}
    assert 0.5 < counts.float().mean() < 0.95
    is_negative = torch.signbit(x[x == 0])
    assert 0.4 < is_negative.float().mean() < 0.6
    assert 0.2 < (x == 0).float().mean() < 0.5
    assert ((x == 0) | torch.isnan(x)).all(1).any()
    out = Judged("m64-n16-k64-b4-g8-nans-s1").exact
    assert torch.equal(torch.isnan(out), (counts > 0).unsqueeze(1).expand_as(out))


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("types", ["f16-sf16", "bf16-sbf16", "f32-sf32", "bf16-sf16", "f16-sbf16"])
def test_every_number_is_a_value_of_the_dtype_that_stores_it(fill, types):
    case, values = problem(f"m9-n16-k64-b4-g24-{types}-bias-{fill}")
    pairs = (
        (values.left, case.dtype),
        (values.scales, case.scales_dtype[1:]),
        (values.bias, case.dtype),
    )
    for numbers, name in pairs:
        finite = numbers[torch.isfinite(numbers)]
        assert torch.equal(round_to(finite, FORMATS[name]), finite)
        assert finite.count_nonzero()


@pytest.mark.parametrize("seed", [2, 5, 8])
def test_a_special_scale_is_of_one_kind_for_sure_in_the_first_group_alone(seed):
    values = problem(f"m2-n4-k256-b8-g1-nonfinite-s{seed}")[1]
    column = values.scales[:, seed % 4]
    kinds = {str(scale) for scale in column[1:].tolist() if not math.isfinite(scale)}
    assert str(column[0].item()) == ("nan", "inf", "-inf")[seed // 3 % 3]
    assert kinds == {"nan", "inf", "-inf"}


@pytest.mark.parametrize("bits", BITS)
def test_ties_lie_in_every_binade_beside_even_and_odd_results(bits):
    """Exponent, and whether the result below is odd; -15: subnormal results."""
    found, boundary = set(), False
    for seed in range(200):
        size = max(2 * codes_in_words(bits), 16)
        out = products(*problem(f"m5-n{size}-k{size}-b{bits}-g8-ties-s{seed}"))[0].sum(2)
        steps = out.abs() / spacing(out, F16)
        is_tie = (steps.frac() == 0.5) & (out.abs() < 65504)
        exponent = out.abs().log2().floor().clamp(min=-15)
        below = steps.floor() % 2
        found |= set(zip(exponent[is_tie].tolist(), below[is_tie].tolist(), strict=True))
        boundary = boundary or bool((out.abs() == 65520).any())
    assert found == {(exponent, odd) for exponent in range(-15, 16) for odd in (0, 1)}
    assert boundary


@pytest.mark.parametrize("types", ["f16-sf16", "bf16-sbf16", "bf16-sf16"])
@pytest.mark.parametrize("direction", ["", "-bwd"])
@pytest.mark.parametrize("bits", BITS)
def test_sums_of_ties_are_exact_in_float32_in_any_order(bits, direction, types):
    for seed in range(4):
        line = f"m9-n32-k128-b{bits}-g48-{types}{direction}-ties-s{seed}"
        case, values = problem(line)
        magnitudes = products(case, values)[1].sum(2)
        digits = last_digit(values.scales)
        digits = digits.amin(1)[values.g_idx] if case.backward else digits.amin(0)
        assert (magnitudes < 2**20 * last_digit(values.left).amin(1, keepdim=True) * digits).all()
        assert Judged(line).expected.error.count_nonzero() == 0


WIDE_TYPES = ["f16-sf16", "f16-sf32", "bf16-sf16", "bf16-sbf16", "f32-sf32"]


@functools.cache
def wide_values(types):
    lines = (f"m8-n40-k136-b4-g24-{types}-wide-s{seed}" for seed in range(24))
    return [problem(line)[1] for line in lines]


WIDE = {
    "x alone near its largest number": lambda x, scales, top: (
        ((x != 0).sum(1) == 1) & (x.abs().amax(1) >= top)
    ),
    "x 2^14 times smaller than another of its row": lambda x, scales, top: (
        (x.abs().amax(1) > 2**14 * x.abs().masked_fill(x == 0, torch.inf).amin(1))
        & ((x != 0).sum(1) > 16)
    ),
    "a row of zeros": lambda x, scales, top: (x == 0).all(1) & (x != 0).any(),
    **{
        f"a tile of {side} zeros before another": lambda x, scales, top, side=side: (
            (x[:, :side] == 0).all(1) & (x[:, side : 2 * side] != 0).all(1)
        )
        for side in (16, 32, 64, 128)
    },
    "a scale of 1/8 and more that bfloat16 cannot hold": lambda x, scales, top: (
        (scales.abs() >= 0.125) & (round_to(scales, BF16) != scales)
    ),
    "a subnormal scale": lambda x, scales, top: scales.abs() < 2**-14,
    "a negative scale": lambda x, scales, top: scales < 0,
}


@pytest.mark.parametrize("what", WIDE)
def test_wide_holds(what):
    assert any(WIDE[what](v.left, v.scales, 2**15).any() for v in wide_values("f16-sf16"))


@pytest.mark.parametrize("types", WIDE_TYPES)
def test_wide_scales_come_in_every_binade_of_their_range(types):
    scales = torch.cat([v.scales for v in wide_values(types)]).abs()
    found = scales.log2().floor().unique().tolist()
    assert found == list(range(int(found[0]), int(found[-1]) + 1))
    assert len(found) >= 36


@pytest.mark.parametrize("types", WIDE_TYPES)
@pytest.mark.parametrize("bits", BITS)
def test_wide_stays_within_the_formats_that_intermediates_have(bits, types):
    """Weights, x (q + z), products and their sums; nothing reaches float32's subnormals."""
    for seed in range(4):
        case, values = problem(f"m8-n32-k1056-b{bits}-g48-{types}-wide-s{seed}")
        codes = values.codes + values.zeros[values.g_idx]
        assert (values.left.abs() @ codes.double()).max() < 2.0**127
        assert products(case, values)[1].sum(2).max() < 2.0**127
        smallest = [part[part != 0].abs().min() for part in (values.left, values.scales)]
        assert smallest[0] * smallest[1] > 2.0**-110
        if case.dtype == "f16":
            assert (values.scales.abs() * case.maxq).max() <= F16.largest


def test_wide_has_columns_whose_weights_are_0_beside_the_outliers():
    values = problem("m8-n40-k136-b4-g24-wide")[1]
    outliers = values.left[0].abs() >= 2**13
    weight = (values.codes - values.zeros[values.g_idx])[outliers]
    assert outliers.any()
    assert (weight[:, 1::2] == 0).all()
    assert (weight[:, ::2] != 0).any(0).all()


if __name__ == "__main__":
    for row, _ in GOLDEN:
        sys.stdout.write(f'    ("{row}", "{checksums(row)}"),\n')


@pytest.mark.parametrize("has_numpy", [True, False])
@pytest.mark.parametrize(("rows", "columns"), [(5000, 24), (40000, 1), (3, 40000), (3, 5)])
def test_words_that_are_drawn_in_blocks_are_those_drawn_at_once(
    rows, columns, has_numpy, monkeypatch
):
    monkeypatch.setattr(philox, "_has_numpy", lambda: has_numpy)
    philox._kept.cache_clear()
    key = functools.reduce(int.__xor__, philox2x32(7, 0, TENSORS["codes"]))
    row, column = torch.arange(rows).unsqueeze(1), torch.arange(columns)
    whole = philox2x32(column + 0 * row, row + 0 * column, key)
    drawn = random_words(7, "codes", rows, columns, "cpu")
    assert all(torch.equal(*both) for both in zip(drawn, whole, strict=True))
    drawn[0].zero_()
    assert torch.equal(first_words(7, "codes", rows, columns, "cpu"), whole[0])

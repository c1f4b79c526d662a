"""The numbers behind a line are the same for ever, and what its tokens say.

`python -m gptq_fuzz.test_data` prints the table GOLDEN anew. A change of it changes what every
line ever reported means: that is a new token with a default, never an edit of a fill.
"""

import sys
import zlib

import pytest
import torch

from gptq_fuzz.case.case import BITS, FILLS, Case
from gptq_fuzz.problem.fills import make_values
from gptq_fuzz.problem.operands import Operands
from gptq_fuzz.problem.philox import TENSORS, philox2x32, random_words

# Random123 1.09, tests/kat_vectors, philox2x32 10
KNOWN_ANSWERS = [
    ((0x00000000, 0x00000000), 0x00000000, (0xFF1DAE59, 0x6CD10DF2)),
    ((0xFFFFFFFF, 0xFFFFFFFF), 0xFFFFFFFF, (0x2C3F628B, 0xAB4FD7AD)),
    ((0x243F6A88, 0x85A308D3), 0x13198A2E, (0xDD7CE038, 0xF62A4C12)),
]
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


def problem(case_line):
    case = Case.parse(case_line)
    return case, make_values(case, "cpu")


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


@pytest.mark.parametrize(("case_line", "wanted"), GOLDEN)
def test_a_line_means_the_same_bytes_for_ever(case_line, wanted):
    assert checksums(case_line) == wanted


def test_every_fill_is_in_the_table_of_bytes():
    assert {Case.parse(case_line).fill for case_line, _ in GOLDEN} == set(FILLS)


@pytest.mark.parametrize("fill", [fill for fill in FILLS if fill not in ("lanes", "nonfinite")])
def test_fewer_rows_and_columns_keep_the_rest(fill):
    large, small = (problem(f"{size}-k96-b4-g32-{fill}-s5")[1] for size in ("m9-n64", "m4-n24"))
    assert torch.equal(small.left, large.left[:4])
    for name in ("codes", "zeros", "scales"):
        assert torch.equal(getattr(small, name), getattr(large, name)[:, :24]), name


@pytest.mark.parametrize("fill", ["randn", "big", "tiny"])
def test_a_shorter_reduction_keeps_the_rest(fill):
    large, small = (problem(f"m4-n16-{size}-b4-g32-{fill}-s5")[1] for size in ("k128", "k64"))
    assert torch.equal(small.left, large.left[:, :64])
    assert torch.equal(small.codes, large.codes[:64])
    assert torch.equal(small.zeros, large.zeros[:2])
    assert torch.equal(small.scales, large.scales[:2])
    assert torch.equal(small.g_idx, large.g_idx[:64])


@pytest.mark.parametrize("bits", BITS)
def test_all_codes_and_zero_points_occur(bits):
    values = problem(f"m1-n128-k128-b{bits}-g4")[1]
    assert torch.equal(values.codes.unique(), torch.arange(2**bits))
    assert torch.equal(values.zeros.unique(), torch.arange(2**bits))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("bits", BITS)
def test_the_smallest_problem_has_the_extreme_codes_and_zero_points(bits, seed):
    word = 32 // bits
    values = problem(f"m1-n{word}-k{word}-b{bits}-gall-s{seed}")[1]
    top = 2**bits - 1
    assert values.codes[:2, :2].tolist() == [[top, 0], [0, top]]
    assert values.zeros[0, :2].tolist() == [0, top]


@pytest.mark.parametrize(("kind", "value"), [("zsym", 8), ("z0", 0), ("zmax", 15)])
def test_fixed_zero_points_are_what_their_token_says(kind, value):
    assert problem(f"m1-n8-k32-b4-g8-{kind}")[1].zeros.unique().tolist() == [value]


G_IDX = [
    ("seq", [0, 0, 0, 1, 1, 1, 2, 2]),
    ("none", [0, 0, 0, 1, 1, 1, 2, 2]),
    ("rev", [2, 2, 1, 1, 1, 0, 0, 0]),
    ("one", [0, 0, 0, 0, 0, 0, 0, 0]),
    ("skew", [0, 0, 0, 0, 0, 1, 1, 2]),
    ("gap", [0, 0, 0, 0, 0, 0, 2, 2]),
]


@pytest.mark.parametrize(("kind", "rows"), G_IDX)
def test_g_idx_is_what_its_token_says(kind, rows):
    token = "" if kind == "seq" else f"-{kind}"
    assert problem(f"m1-n8-k8-b4-g3{token}")[1].g_idx.tolist() == rows


def test_act_shuffles_the_sequential_g_idx():
    g_idx = problem("m1-n8-k64-b4-g5-act")[1].g_idx
    assert torch.equal(g_idx.sort().values, torch.arange(64) // 5)
    assert not torch.equal(g_idx, torch.arange(64) // 5)


if __name__ == "__main__":
    for row, _ in GOLDEN:
        sys.stdout.write(f'    ("{row}", "{checksums(row)}"),\n')

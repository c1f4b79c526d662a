"""What probes say of kernels whose way of computing is known, declared, or has changed."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest
import torch

from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case.backend import PLAIN_LIMITS, Limits, Numerics, from_callable
from gptq_fuzz.case.case import Case, Token
from gptq_fuzz.fingerprint.measure import FIELDS, contradictions, take_fingerprint
from gptq_fuzz.fingerprint.store import FingerprintFile, Unreadable, changes, compare, default_cases
from gptq_fuzz.oracle.examination import Examination, Request
from tests.suite.model_kernels import (
    atomics,
    blocks,
    dealt,
    folded,
    half_away,
    kernel,
    pairs,
    parts,
    tensor_core,
    truncated,
    zero_scaled,
)

pytestmark = pytest.mark.turns(6, whole=True)

CASE = Case.parse("m128-n8-k240-b4-gall")
HALF, BF16 = torch.float16, torch.bfloat16
PLAIN = {
    "accumulator": "float32", "blocks": "none", "split-K": "none", "partial sums": "none",
    "between blocks": "none", "zero-point": "subtracted", "weights": "exact", "x": "exact",
    "result": "nearest even", "columns": "alike",
}  # fmt: skip
JOINED = {"partial sums": "float32", "between blocks": "float32"}
IN_HALF = {"partial sums": "float16", "between blocks": "float16"}
UNSEEN = dict.fromkeys(("blocks", "split-K", "partial sums", "between blocks"), "unknown")


def tf32_weights(q, z, s):
    return truncated((q - z) * s)


def half_weights(q, z, s):
    return ((q - z) * s).half().double()


def answers_nothing(x, qweight, **_):
    return x.new_zeros(len(x), qweight.shape[1])


KNOWN = {
    # name: the kernel, and where it differs from PLAIN
    "float32 in order": (kernel(), {}),
    "float16": (kernel(dtype=HALF), {"accumulator": "float16"}),
    "bfloat16": (kernel(dtype=BF16), {"accumulator": "bfloat16", "result": "unknown"}),
    "float64": (
        kernel(dtype=torch.float64),
        {**UNSEEN, "accumulator": "wider than float32", "zero-point": "unknown"},
    ),
    "blocks of 16": (kernel(blocks(16)), {**JOINED, "blocks": "16"}),
    "blocks of 32": (kernel(blocks(32)), {**JOINED, "blocks": "32"}),
    "blocks of 64": (kernel(blocks(64)), {**JOINED, "blocks": "64"}),
    "blocks in pairs": (kernel(pairs(16)), {**JOINED, "blocks": "16 joined in pairs"}),
    "promoted every 32": (
        kernel(blocks(32), HALF),
        {**JOINED, "blocks": "32", "accumulator": "float16", "partial sums": "float16"},
    ),
    "tensor core": (
        kernel(tensor_core), {**JOINED, "blocks": "16", "accumulator": "float32 (25 digits)"},
    ),
    "short tensor core": (
        kernel(partial(tensor_core, kept=14)),
        {
            "blocks": "16", "accumulator": "15 digits", "partial sums": "15 digits",
            "between blocks": "15 digits", "weights": "unknown", "x": "unknown",
        },
    ),
    "tensor core in blocks": (
        kernel(blocks(64, add=tensor_core)),
        {**JOINED, "blocks": "16, 64", "accumulator": "float32 (25 digits)"},
    ),
    "split-K": (kernel(parts(4)), {**JOINED, "split-K": "4"}),
    "split-K, bfloat16 partials": (
        kernel(parts(4, BF16)),
        {**JOINED, "split-K": "4", "partial sums": "bfloat16", "result": "unknown"},
    ),
    "split-K, all float16": (kernel(parts(3, HALF, HALF)), {"split-K": "3", **IN_HALF}),
    "split-K of dealt blocks": (
        kernel(dealt(32, 4, HALF)),
        {**JOINED, "blocks": "32", "split-K": "4", "partial sums": "float16"},
    ),
    "split-K by atomics": (kernel(atomics(4, HALF)), {"split-K": "4", **IN_HALF}),
    "truncated": (kernel(result=truncated), {"result": "truncated"}),
    "half away": (kernel(result=half_away), {"result": "nearest away"}),
    "TF32": (kernel(weights=tf32_weights), {"weights": "TF32 truncated"}),
    "float16 weights": (kernel(weights=half_weights), {"weights": "float16"}),
    "scaled zero-point": (
        kernel(weights=zero_scaled), {"weights": "scaled code and zero-point to float16"},
    ),
    "x in bfloat16": (kernel(x_to=BF16), {"x": "bfloat16"}),
    "folded": (
        folded,
        {
            "blocks": "one a group", "zero-point": "folded",
            "partial sums": "unknown", "between blocks": "unknown",
        },
    ),
    "always zero": (answers_nothing, dict.fromkeys(FIELDS, "unknown")),
}  # fmt: skip
# Backends with one field of their Numerics wrong, and words of the contradiction
WRONG = {
    "accumulator": ("float16", {}, "accumulator: 'f32' is declared, float16 was found"),
    "wide accumulator": (
        "float32 in order", {"accumulator": "f16"},
        "accumulator: 'f16' is declared, float32 was found",
    ),
    "partial": (
        "split-K, bfloat16 partials", {}, "partial: 'f32' is declared, bfloat16 was found",
    ),
    "tf32": ("TF32", {}, "tf32: False is declared, TF32 truncated weights"),
    "weights": ("float16 weights", {"weights": ("exact",)}, "weights: ('exact',) are declared"),
    "aligned_bits": (
        "short tensor core", {"aligned_bits": 15}, "aligned_bits: 15 is declared, 15 digits were",
    ),
    "no aligned_bits": (
        "short tensor core", {}, "aligned_bits: None is declared, 15 digits were found",
    ),
    "scaled_zero": ("scaled zero-point", {}, "scaled_zero: False is declared"),
    "folds_zero": ("folded", {"folds_zero": False}, "folds_zero: False is declared"),
    "result": ("truncated", {}, "result: rounding to nearest even is promised, truncated"),
    "x": ("x in bfloat16", {}, "x: it is used as it is, bfloat16 was found"),
}  # fmt: skip
RIGHT = {
    "float16": {"accumulator": "f16"},
    "promoted every 32": {"accumulator": "f16"},
    "split-K, bfloat16 partials": {"partial": "bf16"},
    "split-K by atomics": {"partial": "f16"},
    "float16 weights": {"weights": ("f16",)},
    "TF32": {"tf32": True},
    "scaled zero-point": {"scaled_zero": True},
    "float32 in order": {"weights": ("x",)},
    "short tensor core": {"aligned_bits": 14},
    "float64": {},
    "tensor core": {},
    "folded": {},
}


@pytest.fixture(scope="module")
def found():
    """Name -> what the probes say, for every known kernel."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(KNOWN, pool.map(probed, KNOWN), strict=True))


def probed(name):
    return fingerprint_of(from_callable(KNOWN[name][0], name))


def fingerprint_of(backend):
    return take_fingerprint(lambda case: Examination(backend, case, "cpu", Request()), CASE)


@pytest.mark.parametrize("name", KNOWN)
def test_a_model_kernel_is_described_as_it_computes(found, name):
    assert found[name]["found"] == PLAIN | KNOWN[name][1]


def declared(name, numerics):
    return replace(from_callable(KNOWN[name][0], name), numerics=replace(Numerics(), **numerics))


@pytest.mark.parametrize("field", WRONG)
def test_a_wrong_declaration_is_found_and_named(found, field):
    name, numerics, words = WRONG[field]
    texts = contradictions(found[name]["found"], declared(name, numerics), "f16")
    assert [text for text in texts if words in text], texts


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_declaration_is_not_contradicted(found, name):
    assert contradictions(found[name]["found"], declared(name, RIGHT[name]), "f16") == []


def test_nothing_is_concluded_from_what_is_unknown():
    nothing = dict.fromkeys(FIELDS, "unknown")
    assert contradictions(nothing, declared("float16", {}), "f16") == []
    assert changes(nothing, PLAIN) == changes(PLAIN, nothing) == []


def test_a_kernel_that_raises_gives_no_fingerprint():
    def f(**_):
        raise RuntimeError("no such path")

    assert fingerprint_of(from_callable(f, "f")) == {"problem": "RuntimeError: no such path"}


ABOUT = {"device": "CPU", "capability": "AVX2", "torch": "2", "triton": "", "interpreted": False}
NEWER = {"capability": "AVX512"}


@pytest.fixture
def file(tmp_path):
    return FingerprintFile(tmp_path / "new" / "prints.json")


def taken(**fields):
    return {"found": PLAIN | fields, "contradictions": []}


def problems(file, taken, *, kernel="f", about=None, case=CASE, stores=True):
    return compare(file, kernel, ABOUT | (about or {}), case, taken, stores)


def test_what_is_stored_is_compared_and_not_lost(file):
    assert problems(file, taken()) == []
    assert problems(file, taken(blocks="unknown")) == []
    assert problems(file, taken(blocks="16"), kernel="g") == []
    (text,) = problems(file, taken(blocks="32", result="truncated"), about={"torch": "3"})
    assert "fingerprint of f changed at m128-n8-k240-b4-gall on CPU AVX2" in text
    assert "\n  blocks: none -> 32\n  result: nearest even -> truncated\n" in text
    assert "stored by torch 2, now torch 3" in text
    assert file.read()["f"]["CPU AVX2"][str(CASE)]["blocks"] == "none"


def test_a_kernel_that_differs_fails_where_nothing_is_stored_anew(file, found):
    first, other = (
        {**found[name], "contradictions": []} for name in ("float32 in order", "blocks of 32")
    )
    assert problems(file, first) == []
    before = file.path.read_text()
    (text,) = problems(file, other, stores=False)
    assert "\n  blocks: none -> 32\n  partial sums: none -> float32\n" in text
    assert file.path.read_text() == before


def test_another_cpu_is_held_to_what_all_have_in_common(file):
    assert problems(file, taken()) == []
    assert problems(file, taken(blocks="32"), about=NEWER, stores=False) == []
    (text,) = problems(file, taken(weights="float16"), about=NEWER, stores=False)
    assert "\n  weights: exact -> float16\n" in text
    assert "stored by" not in text  # by whom is not known of a machine that has stored nothing
    gpu = {"device": "NVIDIA H200", "capability": "sm_90"}
    assert problems(file, taken(weights="float16"), about=gpu, stores=False) == []


def test_each_machine_and_line_has_its_own(file):
    assert problems(file, taken(blocks="1")) == []
    assert problems(file, taken(blocks="2"), about=NEWER) == []
    assert problems(file, taken(blocks="3"), case=CASE.replace(m=1)) == []


def test_contradictions_and_no_answer_are_problems(file):
    (text,) = problems(file, taken() | {"contradictions": ["partial: no"]})
    assert text == "Numerics of f contradicted at m128-n8-k240-b4-gall\n  partial: no"
    (text,) = problems(file, {"problem": "it raised"})
    assert text.endswith(": it raised")


@pytest.mark.parametrize("text", ["[1]", "not JSON", json.dumps({"cases": 1})])
def test_a_file_of_something_else_is_left_alone(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(Unreadable, match="no file of fingerprints"):
        FingerprintFile(path)
    assert path.read_text() == text


NARROW = Limits(
    bits=(2,), group_sizes=(32, 128), n_multiple=64, k_multiple=128,
    tokens=(Token("cfg", ("1", "2")), Token("path", ("a", "b"), optional=False)),
)  # fmt: skip


def lines_of(limits, interpreted):
    return [str(case) for case in default_cases(limits, interpreted)]


def test_every_config_and_dtype_has_its_line_within_the_limits():
    assert lines_of(PLAIN_LIMITS, False) == ["m64-n32-k480-b4-gall", "m1-n32-k480-b4-gall"]
    assert lines_of(PLAIN_LIMITS, True) == ["m64-n32-k480-b4-gall"]
    assert len(lines_of(TORCH.limits, False)) == 6
    tokens = ("patha", "cfg1-patha", "cfg2-patha", "pathb")
    assert lines_of(NARROW, True) == [f"m64-n64-k512-b2-g128-{words}" for words in tokens]

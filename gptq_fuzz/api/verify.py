"""The judge as a library: is this output right for these operands?"""

from __future__ import annotations

import torch

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.backend import Numerics
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.oracle.examination import WrongType, typed
from gptq_fuzz.oracle.locate import rows_and_columns
from gptq_fuzz.oracle.parts import ExpectedParts
from gptq_fuzz.problem.given import TENSORS, Problem
from gptq_fuzz.problem.rounding import FORMATS


def verify(
    out: torch.Tensor,
    *,
    x: torch.Tensor,
    qweight: torch.Tensor,
    qzeros: torch.Tensor,
    scales: torch.Tensor,
    g_idx: torch.Tensor | None = None,
    bits: int = 4,
    group_size: int | None = None,
    bias: torch.Tensor | None = None,
    checkpoint_format: str = "v1",
    numerics: Numerics | None = None,
) -> Verdict:
    """PASS if `out` [..., N] is x [..., K] times the GPTQ weight, else WRONG or WRONG_TYPE.

    x, scales [G, N] and bias [N] are float16, bfloat16 or float32, bias and out as x is. qweight
    [K * bits / 32, N], qzeros [G, N * bits / 32] and g_idx [K] are int32. Without g_idx, rows are
    in order, `group_size` of them in a group (-1: all of them in one; default: K / G). All may have
    any strides, on a CPU or a GPU; nothing is written to. `numerics` says how the kernel rounds, by
    default as a plain function may: weights exact or rounded once to x's dtype, sums in float32.

    The bounds are those of the worst case: an error of n roundings, n = K + 3, may be n times that
    of one. The suite's own data get about 8 sqrt(n), which rests on rounding errors that do not
    depend on each other (Hoeffding and Azuma), as with random signs of x. Nobody knows that of an
    engine's activations, so what is reported here is wrong whatever the data are. NaN and
    infinities in x, scales and bias must come out where they belong.

    Raises TypeError or ValueError for operands that are no such layer, before anything is computed.
    """
    problem = Problem(x, qweight, qzeros, scales, bits, g_idx, group_size, bias, checkpoint_format)
    numerics = Numerics() if numerics is None else numerics
    _require_numerics(numerics)
    try:
        given = typed(out, problem)
    except WrongType as wrong:
        return Verdict(kinds.WRONG_TYPE, None, str(wrong))
    _require_apart(given, problem)
    place = problem.device if problem.device.type in ("cpu", "cuda") else torch.device("cpu")
    with torch.no_grad():
        return _judged(given, problem, ExpectedParts(problem, numerics, str(place)))


def _judged(out: torch.Tensor, problem: Problem, expected: ExpectedParts) -> Verdict:
    out = out.reshape(-1, problem.n)
    mismatch = expected.check(out)
    if not mismatch.count:
        return Verdict(kinds.PASS, None)
    where = rows_and_columns(mismatch.wrong, problem.unit)
    return Verdict(kinds.WRONG, None, mismatch.describe(), where, ratio=mismatch.worst_ratio())


def _require_numerics(numerics: Numerics) -> None:
    if not isinstance(numerics, Numerics):
        raise TypeError(f"numerics must be Numerics or None, got {type(numerics).__name__}")
    sums = {"accumulator": (numerics.accumulator,), "partial": (numerics.partial,)}
    for field, names in (sums | {"weights": tuple(numerics.weights)}).items():
        known = (*FORMATS, "x", *(["exact"] if field == "weights" else []))
        if not names or not set(names) <= set(known):
            raise ValueError(f"numerics.{field} takes {', '.join(known)}, not {names}")


def _require_apart(out: torch.Tensor, problem: Problem) -> None:
    for name in TENSORS:
        operand = getattr(problem, name)
        if operand is not None and _share_memory(out, operand):
            raise ValueError(
                f"out shares memory with {name}, which no longer holds what was multiplied"
            )


def _share_memory(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether some byte belongs to both; neighbours within one buffer do not."""
    storage = first.untyped_storage()
    same = storage.data_ptr() == second.untyped_storage().data_ptr()
    if not same or not first.numel() or not second.numel():
        return False
    touched = torch.zeros(storage.nbytes(), dtype=torch.uint8)
    _cells(touched, first).fill_(0xFF)
    return bool(_cells(touched, second).ne(0).any())


def _cells(storage: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    whole = storage[: len(storage) // like.element_size() * like.element_size()]
    return whole.view(like.dtype).as_strided(like.shape, like.stride(), like.storage_offset())

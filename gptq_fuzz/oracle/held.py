"""Whether results, or x, that are held keep more alive than they need: one allocation for a result
and what it was computed from is freed with the result, what a result holds of its layer outlives
that, what is noted at an x is freed with the x, and a caller holds some of these for long.

What a result may need is more than its elements: whole tiles of rows and columns, in float32, as
many times as the sum was split. K has no part in it. Of an x nothing else need be kept.
"""

from __future__ import annotations

import gc

import torch

from gptq_fuzz.oracle.enlarged import Calls, CallsOfNewLayers, Enlarged, enlarged, seconds_of
from gptq_fuzz.oracle.kept import BYTES, NoTimeLeft, in_use

ROWS, COLUMNS, REDUCTION = 64, 64, 2**14
TILE = 256  # rows, and columns, that a result may be padded to a multiple of
PARTS = 4  # of a split sum
# Bytes that an allocator adds: malloc to whole pages, torch's on a GPU what it would not split off
MORE = {"cpu": 2**16, "cuda": 2**20}
WARM_UPS = 2
SECONDS = 1.0  # of these and the next few; of a kernel that takes longer nothing is said
FEW = 4  # results, by which it is told that nothing is to be found
ROUND, ROUNDS = 32, 3  # by then, a pool or an arena of bounded size is full


def kept_by_what_is_held(exam, seconds: float) -> str | None:
    """What is kept with each result held, or with each x; None if it is no more than that may need,
    or where there is no time to ask.
    """
    layer = enlarged(exam, ROWS if exam.case.m > 1 else 1, COLUMNS, REDUCTION)
    if layer is None or layer.case.k < REDUCTION:
        return None
    if seconds_of(exam, layer) * (WARM_UPS + FEW) > SECONDS:
        return None
    more, x = MORE[torch.device(exam.device).type], layer.rows(0)
    result = f"result of {layer.case.m * layer.case.columns} elements"
    needed = _needed(layer.case.m, layer.case.columns) + more
    kinds = (  # what is held, of which calls, its bytes, what else may be kept with it
        (result, Calls, 0, needed),
        (f"{result}, of a layer that is dropped,", CallsOfNewLayers, 0, needed),
        (f"x of {x.numel()} elements", Calls, x.nbytes, x.nbytes // 2 + more),
    )
    gc.freeze()  # only what is made from now on need be looked at
    try:
        for what, calls, own, most in kinds:
            multiply = calls(exam, layer, min(seconds, SECONDS))
            if found := _kept(multiply, layer, own, most, seconds):
                return f"{found} bytes are kept with each {what} that is held"
    except NoTimeLeft:
        pass
    finally:
        gc.unfreeze()
    return None


def _needed(rows: int, columns: int) -> int:
    """Bytes of a result in whole tiles of float32, one for each part of the sum."""
    padded = (-(-size // TILE) * TILE for size in (rows, columns))
    return torch.float32.itemsize * PARTS * next(padded) * next(padded)


def _kept(multiply: Calls, layer: Enlarged, own: int, most: int, seconds: float) -> int | None:
    """Bytes that go with each that is held, beside its `own`; None if they are not above `most`.

    Results are held, of which none has bytes of its own here, or x.
    """
    for number in range(WARM_UPS):
        multiply(layer.rows(number))
    held, states = [], [in_use(layer.device)[BYTES]]

    def one() -> torch.Tensor:
        x = layer.rows(WARM_UPS + len(held))
        out = multiply(x)
        return x if own else out

    def hold(count: int) -> int:
        """The bytes that each of so many more has brought."""
        held.extend(one() for _ in range(count))
        states.append(in_use(layer.device)[BYTES])
        return (states[-1] - states[-2]) // count - own

    if hold(FEW) <= most:
        return None
    multiply.ends += seconds
    grown = min(hold(ROUND) for _ in range(ROUNDS))
    if grown <= most:
        return None
    held.clear()
    freed = states[-1] - in_use(layer.device)[BYTES]
    return grown if freed >= ROUNDS * ROUND * (own + most) else None

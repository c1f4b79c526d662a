"""Which elements of a result are wrong, and which weights: as cells of a picture.

A picture has few cells: each stands for some rows and columns, and is wrong where one of these is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from gptq_fuzz.case.case import Case
from gptq_fuzz.oracle.diagnosis import Look
from gptq_fuzz.oracle.examination import Examination
from gptq_fuzz.oracle.messages import describe
from gptq_fuzz.problem.operands import Operands

ROWS, COLUMNS = 96, 192  # cells
RESULT, WEIGHTS = "result", "weights"


def pictured(examine: Callable[[Case], Examination], case: Case) -> dict:
    """`pictures`: of the result [M, N], and of the weights [K, N], as far as any are wrong."""
    try:
        return {"pictures": _pictures(examine(case))}
    except Exception as problem:  # noqa: BLE001 - a kernel may raise anything
        return {"pictures": [], "problem": describe(problem)}


def _pictures(exam: Examination) -> list[dict]:
    case = exam.case
    tile_m, tile_n, _ = exam.backend.limits.tile
    operands = Operands(case, exam.device, zones=exam.zones)
    wrong = exam.expectation(operands).check(exam.call(operands)).wrong.cpu()
    across = list(range(tile_n, wrong.shape[1], tile_n))
    pictures = [_picture(RESULT, wrong, list(range(tile_m, case.m, tile_m)), across)]
    look = Look(exam, False)
    look.ask(case.seed)
    weights = torch.zeros(case.k, case.n, dtype=torch.bool)
    for found in look.found:
        weights[found.k, found.n] = True
    is_ordered = case.g_idx in ("seq", "none")
    size = case.rows_per_group
    groups = list(range(size, case.k, size)) if is_ordered else []
    pictures.append(_picture(WEIGHTS, weights, groups, list(range(tile_n, case.n, tile_n))))
    return [picture for picture in pictures if any(int(row, 16) for row in picture["wrong"])]


def _picture(of: str, wrong: torch.Tensor, down: list[int], across: list[int]) -> dict:
    """[R, C] mask -> plain values; each row of cells as a hexadecimal number, its first cell last.

    `down` and `across` are the rows and columns before which a border lies.
    """
    rows, columns = wrong.shape
    high, wide = max(-(-rows // ROWS), 1), max(-(-columns // COLUMNS), 1)
    cells = torch.zeros(-(-rows // high), -(-columns // wide), dtype=torch.bool)
    at = wrong.nonzero()
    cells[at[:, 0] // high, at[:, 1] // wide] = True
    numbers = (
        sum(1 << place for place, is_wrong in enumerate(row) if is_wrong) for row in cells.tolist()
    )
    return {
        "of": of,
        "rows": rows,
        "columns": columns,
        "cell": [high, wide],
        "wrong": [f"{number:x}" for number in numbers],
        "down": down if len(down) <= ROWS else [],
        "across": across if len(across) <= COLUMNS else [],
    }

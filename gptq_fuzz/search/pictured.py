"""Pictures of a wrong result, of the problem that failed first where that is not too much."""

from __future__ import annotations

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.search.explained import MOST_PRODUCTS
from gptq_fuzz.search.kernel import KernelUnderTest


def pictures(kernel: KernelUnderTest, verdict: Verdict, first: Case | None = None) -> list[dict]:
    """As `oracle/picture.py` makes them; none of what is wrong only in another way than asked."""
    case = first if first and first.m * first.n * first.k <= MOST_PRODUCTS else verdict.case
    is_one = verdict.kind == kinds.WRONG and verdict.check == "value" and case is not None
    if not is_one or case.condition:
        return []
    return kernel.worker.look("picture", case).get("pictures", [])

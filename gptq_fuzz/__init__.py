"""A correctness and fuzzing suite for GPTQ quantised matmul kernels.

`check` puts a kernel under the suite, `verify` judges tensors that are at hand, `save_problem`
stores them; a `Backend` with `Limits` and `Numerics` declares what a kernel promises. Nothing is
imported, torch included, before it is asked for.
"""

import importlib
from typing import TYPE_CHECKING

from gptq_fuzz import _checkout

if TYPE_CHECKING:
    from gptq_fuzz.api.check import check as check
    from gptq_fuzz.api.problem_file import Problem as Problem
    from gptq_fuzz.api.problem_file import load_problem as load_problem
    from gptq_fuzz.api.problem_file import save_problem as save_problem
    from gptq_fuzz.api.verify import verify as verify
    from gptq_fuzz.case.backend import Backend as Backend
    from gptq_fuzz.case.backend import Limits as Limits
    from gptq_fuzz.case.backend import Numerics as Numerics
    from gptq_fuzz.case.case import Case as Case
    from gptq_fuzz.case.case import Token as Token
    from gptq_fuzz.case.verdict import Verdict as Verdict
    from gptq_fuzz.problem.codes import repack as repack

__version__ = "2026.11.26"  # the day of the release

_checkout.install()

_PUBLIC = {
    "Backend": "gptq_fuzz.case.backend",
    "Case": "gptq_fuzz.case.case",
    "Limits": "gptq_fuzz.case.backend",
    "Numerics": "gptq_fuzz.case.backend",
    "Token": "gptq_fuzz.case.case",
    "Verdict": "gptq_fuzz.case.verdict",
    "check": "gptq_fuzz.api.check",
    "Problem": "gptq_fuzz.api.problem_file",
    "repack": "gptq_fuzz.problem.codes",
    "load_problem": "gptq_fuzz.api.problem_file",
    "save_problem": "gptq_fuzz.api.problem_file",
    "verify": "gptq_fuzz.api.verify",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__():
    return sorted({*globals(), *_PUBLIC})

"""Faults put into the kernels on purpose are found by the host build alone, with corpus lines.

Where a pattern is no longer in the source, the fault has to be written anew.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import settings

from gptq_fuzz.adapters.exllama import EXLLAMA, ORDERS
from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.corpus import OURS, read_corpus
from gptq_fuzz.worker.supervisor import Launch, Worker
from kernels.exllama import build as exllama_build
from tests.exllama.faults import FAULTS, copied
from tests.exllama.parts import build_or_skip

pytestmark = pytest.mark.slow
LARGE = 2**16  # elements of weights and x: lines beyond are left to the other tests
# One of each kind always runs; a build takes seconds. The nightly profile runs all.
ALWAYS = [
    "barrier_before_sums_are_read",
    "column_guard_of_the_result",
    "last_row_not_written",
    "remap_off_by_one",
    "sums_not_zeroed",
]
CHOSEN = list(FAULTS) if settings().max_examples > 1000 else ALWAYS


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """Name of a fault -> a plug-in file whose FAULTY has it; "" -> one without. All are built."""
    build_or_skip("cpu")
    made = {name: copied(tmp_path_factory.mktemp("faulty"), name) for name in ("", *CHOSEN)}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        recipe = exllama_build.host_recipe()
        list(pool.map(lambda plugin: exllama_build.build(recipe, plugin.parent), made.values()))
    return made


def lines():
    """Lines of the extension's own corpus that take no time, in each order of threads."""
    for line in read_corpus(OURS / "exllama.txt"):
        case = Case.parse(line, EXLLAMA.limits.tokens)
        if not case.bad and case.k * (case.n + case.m) <= LARGE:
            yield from (case.replace(seed=seed) for seed in range(len(ORDERS)))


def first_failure(plugin: Path):
    """The first verdict that is none of a right kernel, or None."""
    worker = Worker(Launch(f"{plugin}:FAULTY", str(plugin.parent), device="cpu"))
    try:
        verdicts = (worker.ask(case, ()) for case in lines())
        return next((verdict for verdict in verdicts if not verdict.ok), None)
    finally:
        worker.stop()


@pytest.mark.parametrize("name", FAULTS)
def test_the_place_of_a_fault_is_still_there(name):
    file, right, wrong = FAULTS[name]
    assert (exllama_build.SOURCES / file).read_text().count(right) == 1
    assert wrong != right


@pytest.mark.bug("L-47 L-48 L-49 L-50 AC-01 AC-02")
@pytest.mark.parametrize("name", CHOSEN)
def test_a_fault_is_found(copies, name):
    found = first_failure(copies[name])
    assert found is not None
    assert found.kind in (kinds.WRONG, kinds.RAISED, kinds.NONDETERMINISTIC), found


def test_nothing_is_found_without_one(copies):
    assert first_failure(copies[""]) is None

"""What every kernel under test must do; one claim a test, the cases drawn within its limits."""

import pytest
from hypothesis import settings

from gptq_fuzz.case.axes import FILLS
from gptq_fuzz.conformance.parameters import fuzz_run, pytest_generate_tests, suite_session
from gptq_fuzz.fingerprint.store import OURS, FingerprintFile
from gptq_fuzz.oracle.relations import RELATIONS
from gptq_fuzz.plugin.fixtures import backend
from gptq_fuzz.search.claims import (
    must_compute_as_before,
    must_pass,
    must_pass_case,
    must_pass_shrunk,
)
from gptq_fuzz.search.problem import must_pass_problem
from gptq_fuzz.search.strategies import cases, refusals

__all__ = ["backend", "fuzz_run", "pytest_generate_tests", "suite_session"]


def examples(share: float = 1.0) -> int:
    """A share of what the chosen Hypothesis profile asks for."""
    return max(1, round(settings().max_examples * share))


def fills_of(backend) -> tuple[str, ...]:
    return backend.limits.fills


@pytest.mark.given_case
def test_the_given_case_passes(backend, case):
    must_pass_case(backend, case)


@pytest.mark.given_problem
def test_the_stored_problem_is_solved(backend, problem):
    must_pass_problem(backend, problem)


def test_every_corpus_line_passes(backend, case):
    must_pass_shrunk(backend, case)


@pytest.mark.pairwise
def test_every_pair_of_axis_values_is_right(backend, case):
    """One further check a case, chosen by its line: all would take as long as the rest."""
    must_pass_shrunk(backend, case, checks=None)


@pytest.mark.parametrize("fill", FILLS)
def test_every_element_is_right(backend, fill):
    if fill not in fills_of(backend):
        pytest.skip("outside_limits")
    must_pass(backend, cases(backend.limits, fill=fill), examples(2), checks=())


@pytest.mark.parametrize("relation", RELATIONS)
def test_equal_questions_have_equal_answers(backend, relation):
    must_pass(backend, cases(backend.limits), examples(), checks=(relation,))


def test_a_call_repeated_gives_the_same(backend):
    must_pass(backend, cases(backend.limits), examples(2), checks=("repeat",))


def test_other_weights_in_between_leave_no_trace(backend):
    must_pass(backend, cases(backend.limits), examples(2), checks=("decoy",))


def test_what_lies_outside_the_limits_is_refused(backend):
    if not backend.limits.bad and not backend.limits.refuses_outside:
        pytest.skip("promises_no_rejection")
    must_pass(backend, refusals(backend.limits), examples(2), checks=())


@pytest.mark.fingerprint
def test_the_kernel_computes_as_declared_and_as_before(backend, case, suite_session):
    must_compute_as_before(backend, case, suite_session.fingerprints[backend.spec])


@pytest.mark.stored_fingerprint
def test_a_built_in_kernel_computes_as_stored(backend, case):
    must_compute_as_before(backend, case, FingerprintFile(OURS), stores=False)


@pytest.mark.fuzz
def test_nothing_is_found_within_the_budget(fuzz_run):
    if fuzz_run:
        pytest.fail("\n\n".join(fuzz_run), pytrace=False)

"""What every kernel under test must do; one claim a test, the cases drawn within its limits."""

import pytest
from hypothesis import settings

from gptq_fuzz.case.case import FILLS
from gptq_fuzz.fingerprint.store import OURS, FingerprintFile
from gptq_fuzz.oracle.relations import RELATIONS
from gptq_fuzz.search.strategies import cases, refusals


def examples(share: float = 1.0) -> int:
    """A share of what the chosen Hypothesis profile asks for."""
    return max(1, round(settings().max_examples * share))


def fills_of(backend) -> tuple[str, ...]:
    return backend.limits.fills


@pytest.mark.given_case
def test_the_given_case_passes(backend, line):
    backend.must_pass_line(line)


def test_every_corpus_line_passes(backend, line):
    backend.must_pass_shrunk(line)


@pytest.mark.pairwise
def test_every_pair_of_axis_values_is_right(backend, line):
    """One further check a line, chosen by the line: all of them would take as long as the rest."""
    backend.must_pass_shrunk(line, checks=None)


@pytest.mark.parametrize("fill", FILLS)
def test_every_element_is_right(backend, fill):
    if fill not in fills_of(backend):
        pytest.skip("outside_limits")
    backend.must_pass(cases(backend.limits, fill=fill), examples(2), checks=())


@pytest.mark.parametrize("relation", RELATIONS)
def test_equal_questions_have_equal_answers(backend, relation):
    backend.must_pass(cases(backend.limits), examples(), checks=(relation,))


def test_a_call_repeated_gives_the_same(backend):
    backend.must_pass(cases(backend.limits), examples(2), checks=("repeat",))


def test_other_weights_in_between_leave_no_trace(backend):
    backend.must_pass(cases(backend.limits), examples(2), checks=("decoy",))


def test_what_lies_outside_the_limits_is_refused(backend):
    if not backend.limits.bad and not backend.limits.refuses_outside:
        pytest.skip("promises_no_rejection")
    backend.must_pass(refusals(backend.limits), examples(2), checks=())


@pytest.mark.fingerprint
def test_the_kernel_computes_as_declared_and_as_before(backend, line, suite_session):
    backend.must_compute_as_before(line, suite_session.fingerprints[backend.spec])


@pytest.mark.stored_fingerprint
def test_a_built_in_kernel_computes_as_stored(backend, line):
    backend.must_compute_as_before(line, FingerprintFile(OURS), stores=False)


@pytest.mark.fuzz
def test_nothing_is_found_within_the_budget(fuzz_run):
    if fuzz_run:
        pytest.fail("\n\n".join(fuzz_run), pytrace=False)

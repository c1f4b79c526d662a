"""What every kernel under test must do; one claim a test, the cases drawn within its limits."""

import pytest
from hypothesis import settings

from gptq_fuzz.case.axes import FILLS
from gptq_fuzz.case.checks import RELATIONS
from gptq_fuzz.conformance.parameters import (
    fuzz_run,
    pytest_generate_tests,
    run_seed,
    strength,
    suite_session,
)
from gptq_fuzz.fingerprint.store import OURS, FingerprintFile
from gptq_fuzz.plugin.fixtures import backend
from gptq_fuzz.search.claims import (
    must_compute_as_before,
    must_pass,
    must_pass_cases,
    must_pass_shrunk,
)
from gptq_fuzz.search.crossings import must_pass_batches, must_pass_crossings, must_pass_edges
from gptq_fuzz.search.dispatch import must_pass_dispatch
from gptq_fuzz.search.gradients import must_pass_gradients
from gptq_fuzz.search.history import (
    FORMS,
    canned,
    must_pass_canned,
    must_pass_drawn,
    must_pass_steps,
)
from gptq_fuzz.search.kept import must_keep_nothing
from gptq_fuzz.search.layers import must_pass_layers
from gptq_fuzz.search.many_codes import must_pass_many_codes
from gptq_fuzz.search.offsets import must_pass_offsets
from gptq_fuzz.search.pairwise import all_together, cases_for
from gptq_fuzz.search.problem import must_pass_problem
from gptq_fuzz.search.series import must_pass_series
from gptq_fuzz.search.strategies import cases, refusals
from gptq_fuzz.search.sweep import DIMENSIONS, must_pass_sweep
from gptq_fuzz.store.replay import must_pass_known

__all__ = ["backend", "fuzz_run", "pytest_generate_tests", "run_seed", "suite_session"]
USUAL = 25  # examples, as in the profile `dev`
SECONDS = {3: 10.0, 4: 600.0}  # for triples, fours of a kernel that is slow to ask


def examples(share: float = 1.0) -> int:
    """A share of what the chosen Hypothesis profile asks for."""
    return max(1, round(settings().max_examples * share))


def of_time() -> float:
    """A share of the seconds of series: less where fewer examples than USUAL are wanted."""
    return min(1.0, settings().max_examples / USUAL)


def fills_of(backend) -> tuple[str, ...]:
    return backend.limits.fills


@pytest.mark.known_finding
def test_what_a_store_knows_passes(backend, known, suite_session):
    must_pass_known(backend, known, suite_session.store)


@pytest.mark.given_case
def test_the_given_case_passes(backend, given):
    must_pass_cases(backend, given)


@pytest.mark.given_problem
def test_the_stored_problem_is_solved(backend, problem):
    must_pass_problem(backend, problem)


@pytest.mark.given_steps
def test_the_given_steps_pass(backend, steps):
    must_pass_steps(backend, steps)


def test_every_corpus_line_passes(backend, case):
    must_pass_shrunk(backend, case)


def test_what_lies_outside_the_limits_is_refused(backend):
    if not backend.limits.bad and not backend.limits.refuses_outside:
        pytest.skip("promises_no_rejection")
    must_pass(backend, refusals(backend.limits), examples(2), checks=())


def test_no_more_memory_is_kept_with_every_call(backend):
    must_keep_nothing(backend)


@pytest.mark.covering
def test_axis_values_are_right_together(backend, case):
    """Every pair of them, and every triple of those that dispatchers look at.

    One further check a case, chosen by its line: all would take as long as the rest.
    """
    must_pass_shrunk(backend, case, checks=None)


def test_large_sizes_that_meet_are_right(backend, run_seed):
    must_pass_crossings(backend, run_seed, of_time())


def test_layers_in_every_combination_are_right(backend, run_seed):
    must_pass_dispatch(backend, run_seed, of_time())


def test_gradients_of_every_size_are_right(backend, run_seed):
    if not backend.limits.backward:
        pytest.skip("outside_limits")
    must_pass_gradients(backend, run_seed, of_time())


def test_batches_of_every_size_are_right(backend, run_seed):
    must_pass_batches(backend, run_seed, of_time())


def test_nothing_beside_a_large_operand_is_touched(backend, run_seed):
    must_pass_edges(backend, run_seed, of_time())


@pytest.mark.parametrize("history", FORMS)
def test_histories_of_an_engine_are_right(backend, history):
    if history not in canned(backend.limits):
        pytest.skip("outside_limits")
    must_pass_canned(backend, history)


def test_histories_are_right(backend, run_seed):
    must_pass_drawn(backend, examples(), run_seed)


def test_triples_are_right_as_far_as_there_is_time(backend, run_seed):
    """Of a kernel that is slow to ask, whose list holds pairs; another seed, other triples."""
    if not backend.is_slow:
        pytest.skip("listed_whole")
    wanted = all_together(backend.limits, strength()) - backend.coverage.triples
    cases = cases_for(backend.limits, wanted, None, run_seed)
    must_pass_series(backend, "triples", cases, of_time() * SECONDS[strength()], run_seed)


def test_offsets_beyond_32_bits_are_right(backend, run_seed):
    must_pass_offsets(backend, run_seed)


def test_codes_past_32_bits_of_addresses_are_right(backend, run_seed):
    """In the profile `nightly`: the least of them takes some 5 GiB."""
    if strength() < 4:
        pytest.skip("nightly")
    must_pass_many_codes(backend, run_seed)


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_every_size_is_right(backend, dimension, run_seed):
    must_pass_sweep(backend, dimension, run_seed, of_time())


def test_layers_of_models_are_right(backend, run_seed):
    must_pass_layers(backend, run_seed, of_time())


@pytest.mark.parametrize("fill", FILLS)
def test_every_element_is_right(backend, fill):
    if fill not in fills_of(backend):
        pytest.skip("outside_limits")
    # Few more than of a question: the list of pairs has each fill some forty times, with all checks
    must_pass(backend, cases(backend.limits, fill=fill), examples(1.2), checks=())


@pytest.mark.parametrize("relation", RELATIONS)
def test_equal_questions_have_equal_answers(backend, relation):
    must_pass(backend, cases(backend.limits), examples(), checks=(relation,))


def test_a_call_repeated_gives_the_same(backend):
    must_pass(backend, cases(backend.limits), examples(2), checks=("repeat",))


def test_other_weights_in_between_leave_no_trace(backend):
    must_pass(backend, cases(backend.limits), examples(2), checks=("decoy",))


def test_nothing_beside_an_operand_is_touched(backend):
    must_pass(backend, cases(backend.limits), examples(2), checks=("guarded",))


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

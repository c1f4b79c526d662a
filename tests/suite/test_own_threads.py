"""Operators of threads that a kernel has of its own: met for the time of a call, and only then."""

import itertools
import queue
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.backend import Backend
from gptq_fuzz.case.history import THREAD, parse_history
from gptq_fuzz.oracle import interrupts, own_threads
from gptq_fuzz.oracle.each_operator import EachOperator, Injected, OperatorsCounted, RaisesAt
from gptq_fuzz.oracle.history import History
from gptq_fuzz.oracle.own_threads import InItsThreads, entrances
from tests.suite.helpers import TORCH

LOADED = "load-0-n8-k16-b4-g8-act/call-0-m2"
WAIT = 5.0  # seconds at most, for what comes at once
PATIENT = 0.3  # seconds that a share waits for the end of another here, which takes microseconds
OF_A_SHARE = 3  # operators


@pytest.fixture
def pool():
    """Two threads that are there already."""
    together = threading.Barrier(2)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _: together.wait(WAIT), range(2)))
        yield threads


def share(_number=0):
    a = torch.ones(4, 4)
    return (a @ a)[1:]


def functions():
    """What torch's functions are, and which of them are a class's own."""
    found = {(owner, name): getattr(owner, name) for owner, name, _ in entrances()}
    own = {key for key in found if key[1] in vars(key[0])}
    return found, own, threading.Thread.start


def verdict_on(matmul, line):
    backend = Backend("threads", TORCH.limits, TORCH.numerics, matmul=matmul)
    return History(backend, "cpu").verdict(parse_history(line, TORCH.limits))


def test_operators_of_a_pool_are_counted_and_the_callers_are_not(pool):
    with InItsThreads(counted := OperatorsCounted()):
        share()
        list(pool.map(share, range(2)))
    assert counted.seen == 2 * OF_A_SHARE


def test_a_thread_that_is_started_in_the_call_is_met():
    with InItsThreads(counted := OperatorsCounted()):
        thread = threading.Thread(target=share)
        thread.start()
        thread.join(WAIT)
    assert counted.seen == OF_A_SHARE


class Callers(EachOperator):
    """Which threads made operators, in their order."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def before(self, operator):
        self.seen.append(threading.get_ident())


def test_shares_come_one_after_another(pool, monkeypatch):
    monkeypatch.setattr(own_threads, "PAUSE", WAIT)  # a busy machine may hold a thread up for long
    monkeypatch.setattr(own_threads, "PATIENCE", PATIENT)
    with InItsThreads(callers := Callers()):
        list(pool.map(share, range(2)))
    assert len(callers.seen) == 2 * OF_A_SHARE
    assert len(list(itertools.groupby(callers.seen))) == len(set(callers.seen))


@pytest.mark.parametrize("number", range(1, 2 * OF_A_SHARE + 1))
def test_one_share_fails(pool, number):
    with InItsThreads(RaisesAt(number)):
        given = [pool.submit(share) for _ in range(2)]
        failed = [isinstance(one.exception(WAIT), Injected) for one in given]
    assert sum(failed) == 1


@pytest.mark.parametrize("problem", [None, RuntimeError, KeyboardInterrupt])
def test_torch_is_as_it_was_afterwards(pool, problem):
    before, modes = functions(), torch.utils._python_dispatch._get_current_dispatch_mode_stack()
    try:
        with InItsThreads(OperatorsCounted()):
            assert torch.matmul is not before[0][torch, "matmul"]
            pool.submit(share).result(WAIT)
            if problem:
                raise problem
    except (RuntimeError, KeyboardInterrupt):
        pass
    assert functions() == before
    assert torch.utils._python_dispatch._get_current_dispatch_mode_stack() == modes == []


def test_what_cannot_be_replaced_leaves_nothing_replaced(pool, monkeypatch):
    before = functions()
    monkeypatch.setattr(own_threads, "entrances", lambda: [*entrances(), (object, "no", share)])
    with pytest.raises(TypeError), InItsThreads(OperatorsCounted()):
        pass
    assert functions() == before


def test_nothing_is_replaced_where_there_are_no_threads(monkeypatch):
    monkeypatch.setattr(InItsThreads, "_is_its_own", lambda self, thread: False)
    before = functions()[:2]
    with InItsThreads(OperatorsCounted()):
        share()
        assert functions()[:2] == before


def test_threads_that_were_there_before_any_kernel_are_left_alone(pool, monkeypatch):
    there = frozenset(one.ident for one in threading.enumerate())
    monkeypatch.setattr(own_threads, "THERE", there)
    with InItsThreads(RaisesAt(1)):
        assert torch.equal(pool.submit(share).result(WAIT), share())


def test_a_thread_that_goes_on_is_met_no_more(pool):
    begun, ended = threading.Event(), threading.Event()

    def goes_on():
        share()
        begun.set()
        ended.wait(WAIT)
        return share()

    with InItsThreads(counted := OperatorsCounted()):
        given = pool.submit(goes_on)
        assert begun.wait(WAIT)
    ended.set()
    given.result(WAIT)
    assert counted.seen == OF_A_SHARE


def test_a_thread_waits_for_another_that_needs_it_but_not_for_ever(pool):
    """Both are in the middle of their shares at once."""
    together = threading.Barrier(2)

    def meets(_number):
        share()
        together.wait(WAIT)
        return share()

    with InItsThreads(counted := OperatorsCounted()):
        list(pool.map(meets, range(2)))
    assert counted.seen == 4 * OF_A_SHARE


@pytest.mark.parametrize("place", ["op1", "op5", "op2of4", "last1"])
def test_a_call_whose_thread_failed_raises_or_is_right(pool, place):
    line = f"{LOADED}/break-0-m2-{place}-{THREAD}/again-0"
    raised = []

    def asks(**given):
        try:
            return pool.submit(TORCH.matmul, **given).result(WAIT)
        except RuntimeError as problem:
            raised.append(problem)
            raise

    def does_not(**given):
        computed = pool.submit(TORCH.matmul, **given)
        if computed.exception(WAIT):
            return given["x"].new_zeros(len(given["x"]), given["scales"].shape[1])
        return computed.result(WAIT)

    assert verdict_on(asks, line).kind == kinds.PASS
    assert [type(problem) for problem in raised] == [Injected]
    assert verdict_on(does_not, line).kind == kinds.WRONG
    assert verdict_on(TORCH.matmul, line).kind == kinds.PASS  # which has no threads


@pytest.mark.parametrize("place", ["op1", "op5", "op2of4", "last1"])
def test_who_waits_for_a_thread_is_interrupted_there_and_the_thread_goes_on(pool, place):
    line = f"{LOADED}/interrupt-0-m2-{place}-{THREAD}/call-0-m2-s1/again-0"
    handler, seen, ended = signal.getsignal(signal.SIGINT), [], []

    def asks(**given):
        computed = pool.submit(TORCH.matmul, **given)
        try:
            return computed.result(WAIT)
        except KeyboardInterrupt:
            seen.append(computed.done())
            raise
        finally:
            ended.append(computed)

    assert verdict_on(asks, line).kind == kinds.PASS
    assert seen == [False]
    assert [computed.exception(WAIT) for computed in ended] == [None] * 4
    assert verdict_on(TORCH.matmul, line).kind == kinds.PASS  # which has no threads
    assert signal.getsignal(signal.SIGINT) == handler


def test_who_does_not_wait_is_not_interrupted(pool, monkeypatch):
    monkeypatch.setattr(interrupts, "MOST_LOOKS", 1)

    def asks(**given):
        return pool.submit(TORCH.matmul, **given).result(WAIT)

    calls = []
    monkeypatch.setattr(interrupts.InMainThread, "interrupt", lambda self: calls.append(self))
    line = f"{LOADED}/interrupt-0-m2-op3-{THREAD}/again-0"
    assert verdict_on(asks, line).kind == kinds.PASS
    assert not calls


def test_what_is_interrupted_leaves_nothing_to_the_next_call():
    """An answer that is not fetched is the next one's; one thread answers, in order."""
    answers = queue.SimpleQueue()

    def asks(**given):
        one.submit(lambda: answers.put(TORCH.matmul(**given)))
        return answers.get(timeout=WAIT)

    line = f"{LOADED}/interrupt-0-m2-op3-{THREAD}/call-0-m2-s1"
    with ThreadPoolExecutor(1) as one:
        verdict = verdict_on(asks, line)
    assert verdict.kind == kinds.STATE_LEAKED, verdict.headline()

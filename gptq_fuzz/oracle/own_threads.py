"""Something done before each of torch's operators, in threads that a kernel has of its own.

A mode of torch is one thread's. What another thread calls of torch are functions of Python: for as
long as a call lasts these push the mode in whatever thread they are called, and pop it there.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
import time
import types
from collections.abc import Callable, Iterator

import torch
from torch.utils._python_dispatch import _pop_mode, _push_mode

from gptq_fuzz.oracle.each_operator import EachOperator

PAUSE = 0.02  # seconds without an operator, after which a thread is taken to have done its share
PATIENCE = 1.0  # seconds that one waits at most for another: it may hold what that one needs
THERE = frozenset(one.ident for one in threading.enumerate())  # before any kernel is imported
OURS = "asked by gptq-fuzz"  # how names begin of threads that call a kernel
INHERITED = object()  # in place of what an owner has of its own
METHODS = (types.FunctionType, types.MethodDescriptorType, types.WrapperDescriptorType)


class InItsThreads:
    """Here `mode.before` is called before operators of all threads but this one.

    In turn: once a thread has begun, others wait until it makes no more of them, so that shares of
    a call come one after another, the same in every run. Torch is as it was afterwards, and a
    thread that goes on meets nothing of this any more.
    """

    def __init__(self, mode: EachOperator, in_turn: bool = True):
        self._mode, self._in_turn = _Told(mode), in_turn
        self._changed = threading.Condition()
        self._is_over = False
        self._replaced: list[tuple[object, str, object]] = []  # owner, name, what was there
        self._running, self._is_inside, self._left_at = 0, False, 0.0
        self._inside = threading.local()

    def __enter__(self) -> InItsThreads:
        self._caller = threading.get_ident()
        self._start = threading.Thread.start
        try:
            # Not of `sys._current_frames`, which may not end in Python before 3.11.9 (gh-106883)
            if any(self._is_its_own(one.ident) for one in threading.enumerate()):  # a pool's
                self._reach()
            else:
                threading.Thread.start = self._reaching(self._start)
        except BaseException:
            self._end()
            raise
        return self

    @property
    def has_met_any(self) -> bool:
        """Whether there are such threads."""
        return bool(self._replaced)

    def _is_its_own(self, thread: int) -> bool:
        if thread == self._caller or thread in THERE:
            return False
        named = [one.name for one in threading.enumerate() if one.ident == thread]
        return not any(name.startswith(OURS) for name in named)

    def __exit__(self, *_problem) -> None:
        self._end()

    def _end(self) -> None:
        with self._changed:
            self._is_over = True
            threading.Thread.start = self._start
            while self._replaced:
                owner, name, before = self._replaced.pop()
                if before is not INHERITED:
                    setattr(owner, name, before)
                elif name in vars(owner):
                    delattr(owner, name)
            self._changed.notify_all()

    def _reaching(self, start: Callable) -> Callable:
        """`Thread.start`, before which the functions of torch are others: most kernels start none,
        and for these nothing is.
        """

        @functools.wraps(start)
        def reaching(thread):
            self._reach()
            return start(thread)

        return reaching

    def _reach(self) -> None:
        with self._changed:
            if self._replaced or self._is_over:
                return
            for owner, name, function in entrances():
                before = vars(owner).get(name, INHERITED)
                self._replaced.append((owner, name, before))
                setattr(owner, name, self._entered(function if before is INHERITED else before))

    def _entered(self, function: Callable) -> Callable:
        @functools.wraps(function, updated=())
        def entered(*args, **kwargs):
            is_met = not self._is_over and self._is_its_own(threading.get_ident())
            if not is_met or self._is_within():
                return function(*args, **kwargs)
            with self._turn():
                if self._is_over:
                    return function(*args, **kwargs)
                _push_mode(self._mode)
                try:
                    return function(*args, **kwargs)
                finally:
                    _pop_mode()

        return entered

    def _is_within(self) -> bool:
        """Whether this thread is in a function that has pushed the mode, or been told."""
        return getattr(self._inside, "flag", False)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        self._inside.flag = True
        me = threading.get_ident()
        try:
            with self._changed:
                if self._in_turn:
                    self._wait(me)
                self._running, self._is_inside = me, True
            yield
        finally:
            self._inside.flag = False
            with self._changed:
                if self._running == me:
                    self._is_inside, self._left_at = False, time.monotonic()

    def _wait(self, me: int) -> None:
        """Until no other thread makes operators; not for ever."""
        ends = time.monotonic() + PATIENCE
        while self._running not in (0, me) and not self._is_over:
            now = time.monotonic()
            due = ends if self._is_inside else min(ends, self._left_at + PAUSE)
            if now >= due:
                return
            self._changed.wait(min(due - now, PAUSE))


class _Told(EachOperator):
    """What tells another mode, one thread at a time."""

    def __init__(self, mode: EachOperator):
        super().__init__()
        self._mode, self._lock = mode, threading.Lock()

    def before(self, operator) -> None:
        with self._lock:
            self._mode.before(operator)


@functools.cache
def entrances() -> list[tuple[object, str, Callable]]:
    """(owner, name, function) of what leads to torch's operators: functions of its modules, methods
    of tensors, and calls of `torch.ops`.
    """
    known = torch.overrides.get_overridable_functions()
    owners = [owner for owner in known if isinstance(owner, types.ModuleType)]
    found = []
    for owner in (*owners, torch.Tensor):
        wanted = {id(function) for function in known[owner]}
        if owner is torch:  # those that make a tensor of none, too
            made = map(vars(torch).get, dir(torch._C._VariableFunctions))
            wanted |= {id(function) for function in made if callable(function)}
        for name in dir(owner):
            function = inspect.getattr_static(owner, name)
            if id(function) in wanted and _is_function(owner, function):
                found.append((owner, name, function))
    calls = (torch._ops.OpOverload, torch._ops.OpOverloadPacket)
    return found + [(owner, "__call__", owner.__call__) for owner in calls]


def _is_function(owner, function) -> bool:
    if owner is torch.Tensor:
        return isinstance(function, METHODS)
    return callable(function) and not isinstance(function, type)

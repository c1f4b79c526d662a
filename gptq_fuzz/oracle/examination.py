"""One case on one Backend: operands built, kernel called, everything around the call watched."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import os
import threading
import time
import traceback
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import torch

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.axes import ON_A_GPU
from gptq_fuzz.case.backend import Backend, Limits
from gptq_fuzz.case.case import Case, decoy_of
from gptq_fuzz.case.checks import NOT_MAPPED
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.oracle.anew import expectation
from gptq_fuzz.oracle.conditions.ambient import in_its_state
from gptq_fuzz.oracle.conditions.parts import same_bits
from gptq_fuzz.oracle.conditions.table import CONDITIONS
from gptq_fuzz.oracle.cycles import kept_in_cycles
from gptq_fuzz.oracle.decode import explain
from gptq_fuzz.oracle.fewer_rows import BEHIND_X, after_more, can_have_more
from gptq_fuzz.oracle.form import changed, forms_of, version_of
from gptq_fuzz.oracle.guard import at_edges, named, places
from gptq_fuzz.oracle.held import kept_by_what_is_held
from gptq_fuzz.oracle.judge import Expected, Mismatch, machine_capability
from gptq_fuzz.oracle.kept import Asked, calls_of, can_be_counted, kept, warnings_unseen
from gptq_fuzz.oracle.launches import bfloat16_works, launches
from gptq_fuzz.oracle.locate import locate, rows_and_columns
from gptq_fuzz.oracle.messages import describe, message_of
from gptq_fuzz.oracle.panel import ExpectedPanel, bytes_needed
from gptq_fuzz.oracle.relations import RELATIONS
from gptq_fuzz.oracle.replaced import replaced_since, torch_at_first
from gptq_fuzz.oracle.room import ALWAYS_THERE, free_memory, is_short, lacks_memory
from gptq_fuzz.oracle.surroundings import (
    device_is_lost,
    differing,
    global_state,
    poisoned_allocations,
    restore_state,
    synchronize,
    treatment,
)
from gptq_fuzz.oracle.trusted import replaced
from gptq_fuzz.problem.bad import invalidate
from gptq_fuzz.problem.layouts import CannotReserve, Guarded
from gptq_fuzz.problem.operands import Operands, Product
from gptq_fuzz.problem.pages import can_be_moved
from gptq_fuzz.reference.matmul import dequantize

SETTLING_CALLS = 4  # a wrong result is asked for again: flaky kernels give themselves away
ENOUGH_WRONG = 3  # of a flaky kernel's calls; then k of n is known well enough
FILTERS = "warning filters"
TREATMENT = "what becomes of warnings"  # whoever calls
TIMED_CALLS = 3  # by which it is foretold how long all take
_LOOKS, LOOK_EVERY = itertools.count(), 8  # at torch's own functions, which are many: by cases
DEAR = 2**23  # elements of x, weights and result of a case
LATE = 0.03  # seconds after the last call, in which a thread of the kernel may still write
MAKE_UP_THEIR_OWN = ("opcheck", "compile", "graph")  # conditions in which torch itself sets state


@dataclass(frozen=True)
class Request:
    """What to do with a case: which checks beyond its values, how often to call, for how long.

    `checks` None picks one by the line, "all" runs each that applies, else the named ones.
    `announce(check, what)` is told what comes next, so that somebody knows what ended the process;
    operands are put where that may happen only if it is there. `publish(out)` is handed the result
    [M, J] that the verdict on values is about. No call begins after `ends`, of time.monotonic().
    Other ways of asking stay within `limits`; None: within the Backend's.
    """

    checks: str | tuple[str, ...] | None = None
    calls: int = 1
    seconds: float = 10.0
    announce: Callable[[str, str], None] | None = None
    publish: Callable[[torch.Tensor], None] | None = None
    ends: float = math.inf
    limits: Limits | None = None


class TimeIsUp(Exception):
    """Before all was asked."""


class WrongType(Exception):
    """The kernel returned something that is not the promised tensor."""


class Damaged(Exception):
    """A byte that no call may write has changed; `kind` is that of the verdict."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


class Skipped(Exception):
    """This machine cannot judge what was asked; the argument is the reason."""


class Examination:
    """One case under one Backend; `verdict()` runs it to its end."""

    def __init__(self, backend: Backend, case: Case, device: str, request: Request, zones=True):
        self.backend, self.case, self.device, self.request = backend, case, device, request
        self.zones = zones
        self.limits = request.limits or backend.limits  # of what is asked in another way
        self.numerics = backend.numerics  # by which results are judged
        self.intervals = Expected
        self.ambient: Callable = contextlib.nullcontext  # what a call of the kernel takes place in
        self.in_a_thread: Callable = contextlib.nullcontext  # the same, of a thread of its own
        self.warnings: list[str] = []
        self.used = 0.0
        self.at = "value", ""  # the check, and what is asked in it
        self.changed: list[str] = []  # of the global state, by the calls of the last value
        self.asked = case  # by the last relation
        self.repeated = 1  # calls of the same, none of them wrong
        self.launched = launches()  # by then, of Triton's interpreter

    def verdict(self) -> Verdict:
        started = time.monotonic()
        result = self._skipped() or self._judged()
        result.seconds = time.monotonic() - started
        result.warnings = sorted(set(self.warnings))
        result.used = self.used
        result.runs = self.repeated if result.kind == kinds.PASS else result.runs
        return result

    def _result(self, kind: str, message: str = "", where: str = "", **more) -> Verdict:
        return Verdict(kind, self.case, message, where, **more)

    def _skipped(self) -> Verdict | None:
        code = self.backend.skip(self.case, self.device) if self.backend.skip else None
        if code is None and self.case.condition in ON_A_GPU and self.device == "cpu":
            code = "no_gpu"
        for name in (self.case.state, self.case.condition):
            if code is None and name not in ("", *self.backend.limits.conditions):
                code = f"{name}_not_promised"
        needed = bytes_needed(self.case)
        if code is None and needed > ALWAYS_THERE and needed > free_memory(self.device):
            code = f"too_large_{needed}_bytes"
        return self._result(kinds.SKIPPED, code) if code else None

    def _judged(self) -> Verdict:
        try:
            self.operands = Operands(self.case, self.device, zones=self.zones)
        except CannotReserve as problem:
            return self._result(kinds.SKIPPED, f"cannot_reserve_{problem}_bytes")
        if self.case.bad or self.backend.limits.violations(self.case):
            return self._must_refuse()
        return self._examined()

    def _examined(self) -> Verdict:
        """The verdict on `operands`, whose answer lies within what is `expected`."""
        self._tasks = tasks()
        if not self.request.announce:  # no process of a kernel's alone: others may change it
            torch_at_first.cache_clear()
        torch_at_first()
        try:
            return (
                self._under_its_condition()
                or self._value()
                or self._further()
                or self._late()
                or self._result(kinds.PASS)
            )
        except Skipped as reason:
            return self._result(kinds.SKIPPED, str(reason))
        except WrongType as problem:
            return self._result(kinds.WRONG_TYPE, str(problem), check=self.at[0])
        except Damaged as problem:
            return self._result(problem.kind, str(problem), check=self.at[0])
        except Exception as problem:  # noqa: BLE001 - a kernel may raise anything
            found = self._raised(problem)
            found.check, what = self.at
            if what and found.kind != kinds.SKIPPED:
                found.message += NOT_MAPPED.format(what)
            return found

    def expectation(self, operands: Operands) -> Expected | ExpectedPanel:
        """What the kernel must return for `operands`, from the reference."""
        return expectation(operands, self._expected)

    @functools.cached_property
    def expected(self) -> Expected | ExpectedPanel:
        """Of this case: not there before it was called once, so that no kernel finds it."""
        return self.expectation(self.operands)

    def _expected(self, product: Product, layer: dict) -> Expected:
        capability = machine_capability(self.device)
        return self.intervals(product, dequantize(**layer), self.numerics, capability)

    def call(self, operands: Operands, ask: Callable | None = None) -> torch.Tensor:
        """The kernel's answer [M, J], of the right type or WrongType; operands as they come.
        `ask()`: in its own way.
        """
        if time.monotonic() > self.request.ends:
            raise TimeIsUp
        given, before = self._output_for(operands), forms_of(operands)
        with self.surrounded():
            out = ask() if ask else self._answer(operands, given.view if given else None)
            synchronize(self.device)
        if given and not given.is_inside():
            raise Damaged(kinds.OUT_OF_BOUNDS, "the kernel wrote outside out")
        if found := "; ".join(changed(before)):
            Examination.require_intact(self, operands)  # which says more where it sees it, too
            raise Damaged(kinds.INPUT_CHANGED, f"the kernel changed {found}")
        rows = self.rows_of(out, operands)
        if given:
            require_same(out, given.view)
            rows = self.rows_of(given.view, operands)
        self.require_intact(operands)
        return rows

    def require_intact(self, operands: Operands) -> None:
        """After each call. Raises Damaged where an operand, or what lies around it, has changed."""
        if damage := operands.damage():
            verb = "wrote outside" if damage[0] == kinds.OUT_OF_BOUNDS else "changed"
            raise Damaged(damage[0], f"the kernel {verb} {named(damage[1])}")

    @contextlib.contextmanager
    def surrounded(self, poisoned: bool = True):
        """Around what calls the kernel: new memory poisoned, warnings kept, the ambient state.

        Ambient state comes without poison, which is a state of its own.
        """
        poisoned = poisoned and self.zones and self.ambient is contextlib.nullcontext
        recorded = warnings.catch_warnings(record=True)
        with poisoned_allocations(poisoned), recorded as caught:
            warnings.simplefilter("always")
            filters = list(warnings.filters)
            with self.ambient():
                yield
            if treatment() != "always":
                self.changed.append(TREATMENT)
            elif warnings.filters != filters:
                self.changed.append(FILTERS)
        self.warnings += [f"{w.category.__name__}: {w.message}" for w in caught]
        if self._is_beyond_the_interpreter():
            raise Skipped("interpreter_bf16")

    def _is_beyond_the_interpreter(self) -> bool:
        """Whether Triton's interpreter ran the kernel, on operands that it gets wrong."""
        return self._has_bfloat16() and launches() > self.launched and not bfloat16_works()

    def _has_bfloat16(self) -> bool:
        return "bf16" in (self.case.dtype, self.case.scales_dtype[1:])

    def rows_of(self, out, operands: Operands) -> torch.Tensor:
        """[M, J] of what the kernel returned. Raises WrongType."""
        if getattr(out, "requires_grad", False) and not _asks_for_a_gradient(operands):
            raise WrongType("the result requires a gradient, x and the layer do not")
        return typed(out, operands).reshape(-1, operands.out_shape[-1])

    def _output_for(self, operands: Operands) -> Guarded | None:
        has_out = operands.case.out and not operands.case.backward
        has_out = has_out and not operands.left.requires_grad  # torch has no such products
        return operands.output() if has_out else None

    def _answer(self, operands: Operands, out: torch.Tensor | None):
        return self.backend.call(operands.case, operands.left, operands.weights(), out)

    def _where(self, wrong: torch.Tensor) -> str:
        return locate(wrong, self.operands.values, self.case)

    def _explained(self, mismatch: Mismatch) -> str:
        return explain(mismatch, self.operands)

    def _value(self) -> Verdict | None:
        self.before, self.changed = global_state(), []
        out = self.call(self.operands)
        self._restore()  # now: the judge computes in this state
        if self.request.publish:
            self.request.publish(out)
        mismatch = self.expected.check(out)
        if mismatch.count:
            return self._wrong(mismatch)
        self.used = self.expected.used(out)
        return self._leak()

    def _restore(self) -> None:
        """Note what the kernel left changed of the global state, and put it back."""
        if changed := differing(self.before, global_state()):
            self.changed += changed
            restore_state(self.before)

    def _leak(self) -> Verdict | None:
        """What the kernel left changed; what an import in a first call adds is none."""
        if FILTERS in self.changed:
            self.changed = [name for name in self.changed if name != FILTERS]
            self.call(self.operands)
        changed = sorted({*self.changed, *replaced()})
        if changed:
            message = f"the kernel changed {', '.join(changed)}"
            return self._result(kinds.STATE_LEAKED, message, check=self.at[0])
        return None

    def _late(self) -> Verdict | None:
        """What a thread writes once the last call has returned; waited for where there is one."""
        is_asked_patiently = self.request.calls > 1
        if is_asked_patiently or threading.active_count() > 1 or tasks() > self._tasks:
            time.sleep(LATE)
        self.require_intact(self.operands)
        self.changed = []
        if is_asked_patiently or not self.request.announce or next(_LOOKS) % LOOK_EVERY == 0:
            self.changed = replaced_since()
        self._restore()
        return self._leak()

    def _under_its_condition(self) -> Verdict | None:
        """The verdict on the case under its condition; None where it is right, or has none."""
        name = self.case.condition if self.case else ""
        if not name:
            return None
        before = global_state()

        def under_it() -> Verdict | None:
            self.before, self.changed = before, []
            try:
                with in_its_state(self):
                    found = CONDITIONS[name](self)
                    self.require_intact(self.operands)
                if found is None and name not in MAKE_UP_THEIR_OWN:
                    self.before = before
                    self._restore()
                    found = self._leak()
            except Skipped:
                raise
            except WrongType as problem:
                found = self._result(kinds.WRONG_TYPE, str(problem))
            except Damaged as problem:
                found = self._result(problem.kind, str(problem))
            except Exception as problem:  # noqa: BLE001 - a kernel may raise anything
                found = self._raised(problem)
            if found and found.kind != kinds.SKIPPED and found.check != "repeat":
                within = f" in {self.case.state}" * bool(self.case.state)
                found.message, found.check = f"under {name}{within}, {found.message}", name
            return found

        return self._stable(under_it)

    def _wrong(self, mismatch: Mismatch) -> Verdict:
        """WRONG if each of a few more calls is wrong too, else NONDETERMINISTIC with its k of n."""
        wrong = 1 + sum(self._again() for _ in range(SETTLING_CALLS))
        if wrong <= SETTLING_CALLS:
            return self._flaky(mismatch, wrong, 1 + SETTLING_CALLS)
        where, explained = self._where(mismatch.wrong), self._explained(mismatch)
        details = {"explained": explained, "ratio": mismatch.worst_ratio()}
        return self._result(kinds.WRONG, mismatch.describe(), where, **details)

    def _again(self) -> int:
        out = self.call(self.operands)
        self._restore()
        return int(self.expected.check(out).count > 0)

    def _flaky(self, mismatch: Mismatch, wrong: int, calls: int) -> Verdict:
        ends = time.monotonic() + self.request.seconds
        while wrong < ENOUGH_WRONG and calls < self.request.calls and time.monotonic() < ends:
            wrong, calls = wrong + self._again(), calls + 1
        return self._result(
            kinds.NONDETERMINISTIC,
            mismatch.describe(),
            self._where(mismatch.wrong),
            check="repeat",
            ratio=mismatch.worst_ratio(),
            wrong_runs=wrong,
            runs=calls,
        )

    def _further(self) -> Verdict | None:
        """The checks beyond one call: repeats, other weights in between, relations."""
        wanted = self.request.checks
        applicable = {"repeat": self._repeat, "decoy": self._decoy}
        if self.request.announce and self.zones and can_be_moved(self.device):
            applicable["guarded"] = self._guarded
        applicable |= {
            name: lambda relation=relation, name=name: self._relation(name, relation)
            for name, relation in RELATIONS.items()
            if relation.applies(self)
        }
        names = list(applicable)
        if wanted is None:
            turn, place = divmod(zlib.crc32(str(self.case).encode()), len(names))
            names = [names[place]] if turn % self._turns() == 0 else []
        elif wanted != "all":
            applicable["memory"] = self._memory
            names = [name for name in wanted if name in applicable]
        elif self.request.calls > 1:
            applicable["memory"] = self._memory
            names.append("memory")
        for name in names:
            self._announce(name)
            self.changed = []
            problem = self._stable(applicable[name])
            self._restore()
            problem = self._leak() or problem  # under another state the judge is none
            if problem:
                return problem
        return None

    def _turns(self) -> int:
        """One of so many cases is asked something further: it costs as much as the case."""
        case = self.case
        elements = case.m * case.k + case.k * case.n + case.m * case.n
        return 1 if elements <= DEAR else 4

    def _repeat(self) -> Verdict | None:
        first = None
        ends = time.monotonic() + self.request.seconds
        for calls in range(1, max(self.request.calls, 2) + 1):
            out = self.call(self.operands)
            mismatch = self.expected.check(out)
            if mismatch.count:
                return self._flaky(mismatch, 1, calls)
            first = out if first is None else first
            self.repeated = calls
            if self.backend.deterministic and not same_bits(first, out):
                mismatch.wrong = (out != first).to(mismatch.wrong.device)
                return self._flaky(mismatch, 1, calls)
            if time.monotonic() > ends:
                break
        return None

    def _decoy(self) -> Verdict | None:
        """Other weights of the same shape in between: nothing of them may come back."""
        first = self.call(self.operands)  # held: a later call must not write into it
        written = version_of(first)
        other = Operands(decoy_of(self.case), self.device, zones=self.zones)
        answer = self.call(other)
        mismatch = self.expectation(other).check(answer)
        if not mismatch.count:
            mismatch = self.expected.check(first)
        if not mismatch.count:
            mismatch = self.expected.check(self.call(self.operands))
        if not mismatch.count and first.numel() and version_of(first) != written:
            message = "a later call counts as a write into an earlier result, for torch"
            return self._result(kinds.STATE_LEAKED, message, check="decoy")
        if not mismatch.count:
            return None
        after = " after a call with other weights of the same shape"
        where = self._where(mismatch.wrong)
        details = {"check": "decoy", "ratio": mismatch.worst_ratio()}
        return self._result(kinds.STATE_LEAKED, mismatch.describe(after), where, **details)

    def _announce(self, check: str, what: str = "") -> None:
        self.at = check, what
        if self.request.announce:
            self.request.announce(check, what)

    def _guarded(self) -> Verdict | None:
        """Operands where memory ends, and where it begins; one at a time if there is time. Then x,
        of a layer that has met more rows.
        """
        asked = [
            (what, lambda side=side, names=names: self.call(at_edges(self.operands, side, names)))
            for side, names, what in places(self.operands, alone=self.request.calls > 1)
        ]
        if can_have_more(self):
            asked.append((BEHIND_X, lambda: after_more(self)))
        for what, answer in asked:
            self._announce("guarded", what)
            mismatch = self.expected.check(answer())
            if mismatch.count:
                message = mismatch.describe(f", with what lies {what} not mapped")
                details = {"check": "guarded", "ratio": mismatch.worst_ratio()}
                return self._result(kinds.WRONG, message, self._where(mismatch.wrong), **details)
        return None

    def _memory(self) -> Verdict | None:
        """Nothing more is kept with every call, whatever is new in it."""
        # Compute-sanitizer keeps objects of Python itself, for the traces of its reports.
        if not (self.case.m and self.zones and can_be_counted(self.device)):
            return None
        share = 2 * self.request.seconds  # of one question; all together have twice as much
        ends = time.monotonic() + 2 * share
        for look in (kept_in_cycles, kept_by_what_is_held) if not self.case.backward else ():
            with contextlib.suppress(Exception):  # of another size: other cases are for that
                if found := look(self, share):
                    return self._result(kinds.LEAKING, found, check="memory")
        with warnings_unseen():
            for whose, asked in calls_of(self).items():
                seconds = min(share, ends - time.monotonic())
                if _fewest_seconds(asked) > seconds:
                    continue  # of calls that do not all fit nothing could be said
                found = kept(asked, self.device, seconds)
                if found:
                    message = f"{found} more are kept with {whose}, {asked.calls} of them"
                    return self._result(kinds.LEAKING, message, check="memory")
        return None

    def _relation(self, name: str, relation) -> Verdict | None:
        """The same numbers asked for in another way."""
        self.asked = self.case
        mismatch = relation.run(self)
        if not mismatch.count:
            return None
        where, rows = "", len(mismatch.wrong)
        if rows == self.asked.m > self.case.m:
            where = rows_and_columns(mismatch.wrong, self.case.unit)
        if rows <= self.case.m:
            wrong = mismatch.wrong.new_zeros(self.case.m, self.case.columns)
            wrong[self.case.m - rows :] = mismatch.wrong  # the last row may be all of it
            where = self._where(wrong)
        sizes = [f"{n}{getattr(self.asked, n)}" for n in "mnk"]
        other = "-".join(size for size in sizes if size not in str(self.case).split("-"))
        note = f", asked in another way ({name}{f': {other}' if other else ''})"
        details = {"check": name, "ratio": mismatch.worst_ratio()}
        details["asked"] = "" if self.asked == self.case else str(self.asked)
        return self._result(relation.kind, mismatch.describe(note), where, **details)

    def _stable(self, check) -> Verdict | None:
        """The verdict of one further check; what does not come back at once is a flaky kernel's."""
        problem = check()
        if problem is None or problem.check in ("repeat", "memory"):
            return problem
        if problem.kind in kinds.FATAL:  # a thread may hold what the next call needs
            return problem
        wrong = 1 + sum(check() is not None for _ in range(2))
        if wrong == 3:
            return problem
        flaky = self._repeat()
        return flaky or self._result(
            kinds.NONDETERMINISTIC,
            problem.message,
            problem.where,
            check="repeat",
            wrong_runs=wrong,
            runs=3,
        )

    def _must_refuse(self) -> Verdict:
        return self._refusal_of(*invalidate(self.case, self.operands.left, self.operands.weights()))

    def _refusal_of(self, left: torch.Tensor, weights: dict) -> Verdict:
        """REJECTED where a call with these invalid operands raises, and nothing was changed."""
        try:
            out = self.operands.output().view if self.case.out else None
            with poisoned_allocations(self.zones), warnings.catch_warnings(record=True):
                self.backend.call(self.case, left, weights, out)
                synchronize(self.device)
        except Exception as problem:  # noqa: BLE001 - a kernel may raise anything
            return self._refused(problem)
        due = f"an exception was due for {self._outside()}, a result came"
        return self._result(kinds.FAILED_TO_REJECT, due)

    def _outside(self) -> str:
        """`badgidx`, or `dtype bf16`: what the kernel promises to refuse."""
        if self.case.bad:
            return f"bad{self.case.bad}"
        fields = self.backend.limits.violations(self.case)
        return ", ".join(f"{name} {getattr(self.case, name)}" for name in fields)

    def _refused(self, problem: Exception) -> Verdict:
        if device_is_lost(self.device):
            return self._result(kinds.CRASHED, describe(problem))
        damage = self.operands.damage()
        if damage:
            return self._result(damage[0], f"{damage[1]} changed before the exception")
        if not message_of(problem) or isinstance(problem, AssertionError):
            return self._result(kinds.FAILED_TO_REJECT, f"unclear exception: {describe(problem)}")
        return self._result(kinds.REJECTED, describe(problem))

    def _raised(self, problem: Exception) -> Verdict:
        traceback.clear_frames(problem.__traceback__)  # which hold what was allocated
        needed = bytes_needed(self.case) if self.case else ALWAYS_THERE
        if lacks_memory(problem) and is_short(self.device, needed):
            return self._result(kinds.SKIPPED, "out_of_memory")
        if self._is_beyond_the_interpreter():
            return self._result(kinds.SKIPPED, "interpreter_bf16")
        if is_limit_of_the_interpreter(problem):
            return self._result(kinds.SKIPPED, "interpreter_float16_overflow")
        kind = kinds.CRASHED if device_is_lost(self.device) else kinds.RAISED
        return self._result(kind, describe(problem))


def _fewest_seconds(asked: Asked) -> float:
    """What all calls take at least: half of what the fastest of a few foretells."""
    took = []
    for number in range(TIMED_CALLS):
        started = time.monotonic()
        asked.call(number)
        took.append(time.monotonic() - started)
    return min(took) * asked.calls / 2


def tasks() -> int:
    """Threads of this process, also those that Python does not know."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:  # no Linux
        return 0


def typed(out, operands) -> torch.Tensor:
    """`out`, if it has the dtype, shape and kind of device that are due; else raises WrongType."""
    dtype, shape, device = operands.out_dtype, operands.out_shape, operands.device
    wanted = f"{dtype} {shape} on {device}"
    if type(out) not in (torch.Tensor, torch.nn.Parameter):  # a subclass compares as it likes
        raise WrongType(f"wanted {wanted}, got {type(out).__name__}")
    if (out.dtype, tuple(out.shape), out.device.type) != (dtype, shape, torch.device(device).type):
        raise WrongType(f"wanted {wanted}, got {out.dtype} {tuple(out.shape)} on {out.device}")
    if out.numel() and any(
        not step and size > 1 for step, size in zip(out.stride(), shape, strict=True)
    ):
        raise WrongType(f"elements of the result share memory, strides {out.stride()}")
    if not out.numel():
        _require_own_memory(out, operands)
    return out.detach()


def _require_own_memory(out: torch.Tensor, operands) -> None:
    """Of an empty result, at which no write shows it. Raises WrongType."""
    address = out.untyped_storage().data_ptr()
    guarded_ones = getattr(operands, "guarded", {})  # none of a problem that a file has
    for name, guarded in guarded_ones.items():
        if address and address == guarded.view.untyped_storage().data_ptr():
            raise WrongType(f"the result lies in the memory of {named(name)}")


def require_same(result: torch.Tensor, out: torch.Tensor) -> None:
    """Raises WrongType where `result` is another tensor than `out`, both of the same shape."""
    steps = zip(result.stride(), out.stride(), out.shape, strict=True)
    is_same = result.data_ptr() == out.data_ptr() and not result.is_neg()
    is_same = is_same and all(mine == its for mine, its, size in steps if size > 1)
    if out.numel() and not is_same:
        raise WrongType("the result is another tensor than the out that was handed in")


def _asks_for_a_gradient(operands) -> bool:
    """Whether x does: of the layer nothing ever does."""
    left = operands.guarded.get("left")
    return left is not None and left.view.requires_grad


def is_limit_of_the_interpreter(problem: BaseException) -> bool:
    """Triton's interpreter cannot round an atomic sum to float16 where that gives an infinity."""
    return type(problem).__name__ == "InterpreterError" and "overflow to signed inf" in str(problem)

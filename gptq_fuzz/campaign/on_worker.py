"""What a Dask worker does with an item: plain values in, plain values out.

It drives one supervised process a kernel, so that a crash costs one case and a hang one time-out,
and judges one item at a time: drawing a case holds Python's lock for longer than asking about it
does, so that more threads would judge no more. An item says what is judged:

- `describe`: nothing; whether the kernel loads here, and what it promises
- `canary`: rounds of drawn cases until one fails in a way that is wanted
- `known`: findings, each as it was asked
- `lines`: cases, with the checks that are named
- `drawn`: rounds that Hypothesis draws, by their seeds
- `canned`: a history of every run, by its name; `histories`: drawn ones, by their seed
"""

from __future__ import annotations

import functools
import itertools
import shlex
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hypothesis.errors import HypothesisDeprecationWarning

from gptq_fuzz.campaign.carried import laid_out
from gptq_fuzz.case.case import Case
from gptq_fuzz.search.claims import must_pass_shrunk
from gptq_fuzz.search.coverage import Coverage
from gptq_fuzz.search.fuzz import REFUSALS, draw_round
from gptq_fuzz.search.history import canned, must_pass_canned, must_pass_drawn
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.pictured import pictures
from gptq_fuzz.search.search import Failure
from gptq_fuzz.search.strategies import refused, ways_to_be_refused
from gptq_fuzz.store.documents import about_device
from gptq_fuzz.store.replay import ask_again, finding
from gptq_fuzz.store.space import space_of
from gptq_fuzz.worker.supervisor import CannotRun, Launch

KEPT = 8  # kernels of which a process is kept
CANARY_ROUNDS = 4
CPU = "CPU"  # as a worker calls it; of a GPU it gives the name
_kernels: OrderedDict[tuple, KernelUnderTest] = OrderedDict()  # the one used last at the end
_one_at_a_time = threading.Lock()


def judge(item: dict) -> dict:
    """Do what an item says within its `budget`, until the first finding; what is left comes back.

    A kernel that this machine cannot run gives `cannot`, the reason.
    """
    with _one_at_a_time, warnings.catch_warnings():
        # Hypothesis sees other threads of Dask use Python's random state, which it does not use.
        warnings.simplefilter("ignore", HypothesisDeprecationWarning)
        started = time.monotonic()
        work = _Work(item, started + item["budget"])
        try:
            work.kernel = _kernel(item)
            _TASKS[item["task"]](work)
        except CannotRun as problem:
            work.cannot = str(problem)
        return work.result(time.monotonic() - started)


@dataclass
class _Work:
    """One item on its way."""

    item: dict
    ends: float
    kernel: KernelUnderTest | None = None
    cannot: str = ""
    findings: list[dict] = field(default_factory=list)
    gone: list[list[str]] = field(default_factory=list)
    left: dict = field(default_factory=dict)  # fields of the item that asks for the rest
    seeds: list[int] = field(default_factory=list)  # that were begun
    more: dict = field(default_factory=dict)

    @property
    def is_late(self) -> bool:
        return time.monotonic() >= self.ends

    def found(self, failure: Failure, first: Case | None = None) -> None:
        """Note a finding; `first` is the case that failed before it was made smaller."""
        kernel, verdict = self.kernel, failure.verdict
        words = shlex.split(kernel.findings[-1].command) if kernel.findings else []
        asked = itertools.dropwhile(lambda word: word not in ("--case", "--steps"), words)
        seen = pictures(kernel, verdict, first)
        line = str(first or "")
        self.findings.append(finding(kernel, self.item["kernel"], verdict, [*asked], line, seen))

    def result(self, seconds: float) -> dict:
        """Plain values: counts, coverage, findings, the machine."""
        result = {
            "task": self.item["task"],
            "cannot": self.cannot,
            "seconds": seconds,
            "seeds": self.seeds,
            "findings": self.findings,
            "gone": self.gone,
            "left": self.left,
            **self.more,
        }
        if self.kernel is None or not self.kernel.worker.description:
            return result | {"cases": 0}
        coverage, space = self.kernel.coverage, space_of(self.kernel.limits)
        pairs, triples = space.seen(coverage)
        return result | {
            "device": about_device(self.kernel.worker.description),
            "cases": coverage.judged,
            "verdicts": dict(coverage.verdicts),
            "skips": dict(coverage.skips),
            "values": {f"{axis}={value}": n for (axis, value), n in coverage.values.items()},
            "used": coverage.used_by_fill,
            "most": coverage.used,
            "most_by": str(coverage.used_by or ""),
            "space": space.name,
            "pairs": f"{pairs:x}",
            "triples": f"{triples:x}",
        }


def _kernel(item: dict) -> KernelUnderTest:
    """The kernel of an item, its process started and nothing counted. Raises CannotRun."""
    named = item["kernel"]
    key = named["name"], named["hash"], item["device"], item["timeout"]
    if key not in _kernels:
        spec, folder = laid_out(named)
        launch = Launch(spec, folder, item["device"], timeout=item["timeout"], quiet=True)
        fresh = KernelUnderTest(launch)
        fresh.worker.start()
        _kernels[key] = fresh
    _kernels.move_to_end(key)
    while len(_kernels) > KEPT:
        _, oldest = _kernels.popitem(last=False)
        oldest.worker.stop()
    kernel = _kernels[key]
    wanted, here = item.get("on", ""), kernel.worker.description["device"]
    if wanted and (wanted == CPU) != (here == CPU):  # on which a kernel has other limits and tokens
        raise CannotRun(f"--kernel {named['name']} is judged on {wanted}, this worker has {here}")
    kernel.only = item["only"]
    kernel.coverage = Coverage()
    kernel.findings, kernel.histories, kernel.tallies = [], [], {}
    return kernel


def _describe(work: _Work) -> None:
    about = work.kernel.worker.description
    work.more = {"limits": about["limits"], "device": about_device(about)}


def _canary(work: _Work) -> None:
    """Whether this machine sees what is known to be wrong; nothing is made smaller."""
    seen: set[str] = set()
    rounds = map(functools.partial(draw_round, work.kernel), range(CANARY_ROUNDS))
    for case in itertools.chain.from_iterable(rounds):
        seen.add(work.kernel.judge(case).kind)
        if seen & set(work.item["wanted"]):
            break
    work.more = {"seen": sorted(seen)}
    work.kernel.worker.stop()  # it is asked once, and would keep memory of the GPU


def _known(work: _Work) -> None:
    for at, asked in enumerate(work.item["known"]):
        if work.is_late:
            work.left = {"task": "known", "known": work.item["known"][at:]}
            return
        try:
            ask_again(work.kernel, asked)
        except Failure as failure:
            work.found(failure)
        except ValueError:  # a line of a kernel with other tokens
            continue
        else:
            work.gone.append(asked)


def _lines(work: _Work) -> None:
    tokens = work.kernel.limits.tokens
    cases = [Case.parse(line, tokens) for line in work.item["lines"]]
    _judged(work, cases, work.item["checks"])


def _drawn(work: _Work) -> None:
    seeds = work.item["seeds"]
    for at, seed in enumerate(seeds):
        work.seeds.append(seed)
        is_whole = _judged(work, _round(work.kernel, seed), None)
        if not is_whole or work.is_late:
            work.left["seeds"] = seeds[at + 1 :]
            return


def _round(kernel: KernelUnderTest, seed: int) -> list[Case]:
    """What is drawn from a seed, and a few of these in forms that are due to be refused."""
    drawn, ways = draw_round(kernel, seed), ways_to_be_refused(kernel.limits)
    due = itertools.islice(itertools.cycle(ways), seed % max(len(ways), 1), None)
    return drawn + [refused(case, way) for case, way in zip(drawn[:REFUSALS], due, strict=False)]


def _judged(work: _Work, cases: Sequence[Case], checks) -> bool:
    """Judge these, until there is no time or one fails; False where some are left."""
    for at, case in enumerate(cases):
        if work.is_late:
            work.left = _rest(cases[at:], checks)
            return False
        try:
            must_pass_shrunk(work.kernel, case, checks)
        except CannotRun:  # its process died and does not start again
            work.left = _rest(cases[at:], checks)
            raise
        except Failure as failure:
            work.found(failure, case)
            work.left = _rest(cases[at + 1 :], checks)
            return False
    return True


def _rest(cases: Iterable[Case], checks) -> dict:
    return {"lines": [str(case) for case in cases], "checks": checks}


def _canned(work: _Work) -> None:
    name = work.item["history"]
    if name in canned(work.kernel.limits):
        _history(work, must_pass_canned, name, work.ends)


def _histories(work: _Work) -> None:
    for at, seed in enumerate(work.item["seeds"]):
        if work.is_late or work.findings:
            work.left = {"seeds": work.item["seeds"][at:]}
            return
        work.seeds.append(seed)
        _history(work, must_pass_drawn, work.item["examples"], seed)


def _history(work: _Work, must_pass, *words) -> None:
    try:
        must_pass(work.kernel, *words)
    except Failure as failure:
        work.found(failure)


_TASKS = {
    "describe": _describe,
    "canary": _canary,
    "known": _known,
    "lines": _lines,
    "drawn": _drawn,
    "canned": _canned,
    "histories": _histories,
}

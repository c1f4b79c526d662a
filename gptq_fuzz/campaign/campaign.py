"""The client of a campaign: hands items to Dask workers, keeps in a store what comes back.

Nothing of a campaign lives in the cluster. A result is written as soon as it is here; of a worker
that is lost, Dask asks another; without a scheduler the campaign ends, and another start goes on
from what the store holds.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import distributed

from gptq_fuzz.campaign.course import BUDGET, Course, course_of, key_of
from gptq_fuzz.campaign.on_worker import judge
from gptq_fuzz.case.case import Case
from gptq_fuzz.museum.catalogue import Exhibit
from gptq_fuzz.search.history import BETWEEN
from gptq_fuzz.store.documents import document
from gptq_fuzz.store.known import Known, of_kernel
from gptq_fuzz.store.store import Store

TICK = 0.5  # seconds between two looks at the clock
LOOK = 2.0  # between two looks at who works
GRACE = BUDGET + 5.0  # seconds that an interrupted campaign waits for what is being judged
START_LIMIT = 600.0  # for the first worker, and for a kernel to be loaded
SHORT = 60.0  # of a canary
START = 10.0  # seconds that a worker takes for the first process of a kernel


class Screen(Protocol):
    """Where a campaign is shown."""

    def show(self, campaign: Campaign) -> None:
        """A few times a second: how far it is."""

    def tell(self, text: str) -> None:
        """At once: what was found."""


class Blind(Exception):
    """A worker did not see what is known to be wrong: what else it says is worth nothing."""


class Lost(Exception):
    """There is no scheduler any more."""


@dataclass
class Until:
    """When a campaign ends: what comes first."""

    seconds: float | None = None
    cases: int | None = None
    covered: bool = False


@dataclass
class Campaign:
    """Kernels, a cluster's client, a store."""

    client: distributed.Client
    store: Store
    until: Until
    canary: Exhibit
    canary_kernel: dict  # as `carried` gives it
    courses: list[Course] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    findings: list[dict] = field(default_factory=list)  # documents, each once
    gone: list[tuple[str, list[str]]] = field(default_factory=list)
    workers: dict[str, str] = field(default_factory=dict)  # address -> "asked", "seen"
    written: list[dict] = field(default_factory=list)  # into the store
    ended: str = ""  # why, where it was before its time

    def __post_init__(self) -> None:
        self._started = time.monotonic()
        self._looked = 0.0
        self._pending: dict[distributed.Future, tuple[Course | None, dict]] = {}
        self._begun: dict[str, set[str]] = {}  # address -> kernels of which it has a process
        self._told: set[tuple] = set()

    @property
    def cases(self) -> int:
        return sum(course.cases for course in self.courses)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._started

    @property
    def left(self) -> float | None:
        """Seconds, where the time is what ends it."""
        return None if self.until.seconds is None else self.until.seconds - self.elapsed

    def begin(self, kernels: Iterable[dict], known: list[Known], corpus: list[str], **options):
        """Ask a worker about each kernel, and the store about what was judged.

        `options` are fields of a Course: only, device, timeout. Raises Lost, ValueError.
        """
        self.client.wait_for_workers(1, timeout=START_LIMIT)
        batches = list(self.store.documents("batch"))
        asked = {
            self.client.submit(
                judge,
                {"task": "describe", "kernel": kernel, "budget": START_LIMIT}
                | _all(options | {"only": ""}),  # whether that clashes is asked here
                pure=False,
            ): kernel
            for kernel in kernels
        }
        for future, kernel in asked.items():
            try:
                described = future.result(timeout=2 * START_LIMIT)
            except distributed.client.FuturesCancelledError as problem:
                raise Lost from problem
            if described["cannot"]:
                self.left_out[kernel["name"]] = described["cannot"]
                continue
            course = course_of(kernel, described, **options)
            course.goes_on_from(batches)
            mine = of_kernel(known, kernel["name"], kernel["hash"])
            course.begin([one.asked for one in mine if one.asked], corpus)
            self.courses.append(course)
            self._write(_promise(course, described))
        self._started = time.monotonic()

    def run(self, screen: Screen) -> None:
        """Until its end; a first Ctrl-C waits for what is being judged. Raises Blind."""
        try:
            while not self._is_over():
                self._step(screen)
        except KeyboardInterrupt:
            self.ended = "interrupted"
        except Lost:
            self.ended = "the scheduler was lost"
            logging.getLogger("distributed").setLevel(logging.CRITICAL)  # which says it at length
        if self.client.status == "running":
            self._wait_for_rest(screen)

    def _is_over(self) -> bool:
        if not self.courses or all(course.is_over for course in self.courses):
            return not self._pending
        is_late = self.left is not None and self.left <= 0
        has_all = self.until.cases is not None and self.cases >= self.until.cases
        is_covered = self.until.covered and all(c.is_over or c.is_covered for c in self.courses)
        return is_late or has_all or is_covered

    def _step(self, screen: Screen) -> None:
        self._look_at_workers()
        busy = {item["at"] for _, item in self._pending.values()}
        for address in [at for at in self.workers if at not in busy]:
            course = self._due_at(address)
            if course is None:
                break
            # Another worker may take what this one, which may be lost by then, does not.
            self._submit(course, course.next(self.left), address, allow_other_workers=True)
        self._settle(TICK, screen)
        screen.show(self)

    def _due_at(self, address: str) -> Course | None:
        """The kernel that has had the least time, a start of its process counted where it has none.

        So each worker keeps to a kernel while all get the same: fewer processes share a GPU.
        """
        active = [course for course in self.courses if not course.is_over]
        begun = self._begun.get(address, set())
        start = START * len(self.workers) / max(len(active), 1)
        return min(active, key=lambda c: c.share + start * (c.name not in begun), default=None)

    def _submit(self, course: Course | None, item: dict, address: str, **options) -> None:
        item["at"] = address
        if course is not None:
            self._begun.setdefault(address, set()).add(course.name)
        future = self.client.submit(judge, item, pure=False, workers=[address], **options)
        self._pending[future] = course, item

    def _look_at_workers(self) -> None:
        """Who works now; each that is new is asked whether it sees the canary."""
        if time.monotonic() - self._looked < LOOK:
            return
        self._looked = time.monotonic()
        try:
            here = self.client.nthreads()
        except Exception as problem:  # whatever a connection that breaks raises
            raise Lost from problem
        self.workers = {at: self.workers.get(at, "") for at in here}
        gone = [f for f, (c, item) in self._pending.items() if c is None and item["at"] not in here]
        for future in gone:
            del self._pending[future]
        for address in [at for at, state in self.workers.items() if not state]:
            self.workers[address] = "asked"
            item = {"task": "canary", "kernel": self.canary_kernel, "budget": SHORT}
            item |= {"wanted": list(self.canary.verdicts)}
            self._submit(None, item | _all({}), address, priority=1)

    def _settle(self, seconds: float, screen: Screen) -> None:
        """Take what is done, waiting so long for the first."""
        if self._pending:
            with contextlib.suppress(distributed.TimeoutError, distributed.CancelledError):
                distributed.wait(list(self._pending), seconds, "FIRST_COMPLETED")
        else:
            time.sleep(seconds)
        if self.client.status != "running":
            self._take_done(screen)
            raise Lost
        self._take_done(screen)

    def _take_done(self, screen: Screen) -> None:
        for future in [each for each in self._pending if each.done()]:
            course, item = self._pending.pop(future)
            if future.status == "finished":
                self._take(course, item, future.result(), screen)
            elif future.status == "error" and course is None:
                self.workers.pop(item["at"], None)  # it is gone
            elif future.status == "error":
                course.dropped(item)
                screen.tell(f"{course.name}: {item['task']} not judged: {future.exception()!r}")
            else:  # cancelled or lost: by a scheduler that is gone, or with a worker's address
                self._pending_again(course, item)

    def _pending_again(self, course: Course | None, item: dict) -> None:
        if self.client.status != "running":
            raise Lost
        if course is not None:
            course.take(item, {**_NOTHING, "cannot": "its worker was lost"})

    def _take(self, course: Course | None, item: dict, result: dict, screen: Screen) -> None:
        if course is None:
            self._see_canary(item, result)
            return
        course.take(item, result)
        if result["cases"]:
            self._write(_batch(course, item, result))
        for found in result["findings"]:
            self._write(found)
            self._heat(course, found)
            key = course.name, *key_of(found)
            if key not in self._told:
                self._told.add(key)
                self.findings.append(found)
                screen.tell(text_of(found))
        for asked in result["gone"]:
            self._write(document("gone", course.kernel, result["device"], asked=asked))
            self.gone.append((course.name, asked))

    def _write(self, document: dict) -> None:
        self.store.write(document)
        self.written.append(document)

    def _see_canary(self, item: dict, result: dict) -> None:
        if result["cannot"] or not set(result["seen"]) & set(item["wanted"]):
            why = result["cannot"] or f"it saw {', '.join(result['seen'])}"
            raise Blind(
                f"worker {item['at']} was given {self.canary.name}, which is wrong "
                f"({self.canary.bug}), and did not see {' or '.join(item['wanted'])}: {why}"
            )
        if item["at"] in self.workers:
            self.workers[item["at"]] = "seen"

    def _heat(self, course: Course, found: dict) -> None:
        """A condition under which something failed is asked of every kernel that knows it."""
        line = found["verdict"]["line"]
        if not line or BETWEEN in line:
            return
        condition = Case.parse(line, course.limits.tokens).condition
        for each in self.courses:
            if condition and condition in each.limits.conditions:
                each.hot.append(condition)

    def _wait_for_rest(self, screen: Screen) -> None:
        """Take what is being judged now; no longer than an item takes, nor after a Ctrl-C."""
        ends = time.monotonic() + GRACE
        with contextlib.suppress(KeyboardInterrupt, Lost):
            while self._pending and time.monotonic() < ends:
                self._settle(TICK, screen)
        with contextlib.suppress(Exception):  # a cluster that is going away
            self.client.cancel(list(self._pending), force=True)
        self._pending.clear()

    @property
    def has_seen_canary(self) -> bool:
        return "seen" in self.workers.values()


_NOTHING = {"cases": 0, "seconds": 0.0, "left": {}, "findings": [], "gone": [], "cannot": ""}


def _all(options: dict) -> dict:
    return {"only": "", "device": None, "timeout": 60.0} | options


def _promise(course: Course, described: dict) -> dict:
    """What is promised stays as it is: written again, it is the same file but for the time."""
    more = {"only": course.only, "space": course.space.name, "limits": described["limits"]}
    return document("promise", course.kernel, described["device"], **more)


def _batch(course: Course, item: dict, result: dict) -> dict:
    names = ("seeds", "cases", "seconds", "verdicts", "skips", "values", "used", "most", "most_by")
    counted = {name: result[name] for name in (*names, "space", "pairs", "triples")}
    task = f"canned:{item['history']}" if item["task"] == "canned" else item["task"]
    return document(
        "batch", course.kernel, result["device"], task=task, only=course.only, **counted
    )


def text_of(found: dict) -> str:
    """The command of a finding, and its verdict."""
    verdict = found["verdict"]
    parts = [Known(found, found["at"], found["at"]).command()]
    parts += [": ".join(filter(None, (verdict["kind"], verdict["message"])))]
    for name in ("where", "explained", "pattern"):
        parts += [f"{name}: {verdict[name]}"] * bool(verdict[name])
    return "\n".join(parts)

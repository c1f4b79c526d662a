"""What a kernel is asked next in a campaign, and what came of it.

The corpus and what is known of the kernel come first, then cases for pairs and triples that were
not judged yet, then rounds of drawn cases, every few of them a history, and cases under conditions
that found something lately, in whichever kernel.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.backend import Limits
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.corpus import our_corpus, promised_cases
from gptq_fuzz.case.only import narrowed
from gptq_fuzz.search.coverage import pairs_of, triples_of
from gptq_fuzz.search.findings import ENOUGH
from gptq_fuzz.search.fuzz import ATTEMPTS, ROUND
from gptq_fuzz.search.history import canned
from gptq_fuzz.search.pairwise import cases_for
from gptq_fuzz.store.space import space_of

ITEM_SECONDS = 5.0  # that an item is made to take: what a lost worker costs
BUDGET = 2 * ITEM_SECONDS  # after which the rest of it comes back
FIRST_CASES = 20  # in an item of lines, until it is known how long cases take
MOST_CASES = 1000
HISTORIES = 4  # every so many items, of those that are neither known nor aimed
EXAMPLES = 10  # histories drawn from a seed
LATELY = 40  # items for which a finding draws more time to its kernel, and to its condition
MORE = 2.0  # times the share of a kernel in which something was found lately
TRIED = 3  # items in a row that no worker could run: then the kernel is left out


@dataclass
class Course:
    """One kernel's way through a campaign."""

    kernel: dict  # as `carried` gives it
    limits: Limits  # narrowed
    about: dict  # what a worker says of itself
    only: str = ""
    device: str | None = None
    timeout: float = 60.0
    todo: deque = field(default_factory=deque)
    pairs: int = 0
    triples: int = 0
    used_seeds: set[int] = field(default_factory=set)
    used_histories: set[int] = field(default_factory=set)
    asked_histories: set[str] = field(default_factory=set)
    aimed_at: Counter = field(default_factory=Counter)
    ahead: Counter = field(default_factory=Counter)  # pairs and triples that are being judged
    hot: deque = field(default_factory=deque)  # conditions that found something lately
    verdicts: Counter = field(default_factory=Counter)
    cases: int = 0
    seconds: float = 0.0  # of workers
    pending: int = 0  # items
    found: dict = field(default_factory=dict)  # what was asked -> the finding's document
    times: int = 0  # that something was found which was not known
    lately: int = 0
    tried: int = 0
    left_out: str = ""

    def __post_init__(self) -> None:
        self.space = space_of(self.limits)
        self._turns = itertools.count()
        self._aims = itertools.count()

    @property
    def name(self) -> str:
        return self.kernel["name"]

    def goes_on_from(self, batches: Iterable[dict]) -> None:
        """Take over what a store says was judged of the same kernel on the same machines."""
        for batch in batches:
            named = batch["kernel"]
            is_same = all(named[key] == self.kernel[key] for key in ("name", "hash", "version"))
            is_here = batch["device"]["device"] == self.about["device"]
            if not (is_same and is_here and batch["only"] == self.only):
                continue
            task, _, history = batch["task"].partition(":")
            if task == "drawn":
                self.used_seeds.update(batch["seeds"])
            elif task == "histories":
                self.used_histories.update(batch["seeds"])
            elif task == "canned":
                self.asked_histories.add(history)
            self._cover(batch)

    def begin(self, known: list[list[str]], corpus: list[str]) -> None:
        """Put first what is known of the kernel, then what is always judged."""
        if known:
            self.todo.append({"task": "known", "known": known})
        lines = [str(case) for case in promised_cases(our_corpus() + corpus, self.limits)]
        for at in range(0, len(lines), FIRST_CASES):
            some = lines[at : at + FIRST_CASES]
            self.todo.append({"task": "lines", "lines": some, "checks": "all"})

    @property
    def is_over(self) -> bool:
        """Whether nothing more is asked: further findings would say nothing new."""
        return bool(self.left_out) or (self.has_enough and not self.todo)

    @property
    def has_enough(self) -> bool:
        fatal = any(one["verdict"]["kind"] in kinds.FATAL for one in self.found.values())
        return fatal or self.times >= ENOUGH

    @property
    def is_covered(self) -> bool:
        """Whether every pair and triple was judged, or tried as often as is worth it."""
        return not self.todo and not self.pending and not any(map(self._worth, self._cold()))

    @property
    def share(self) -> float:
        """Seconds that it has had, less where it found something lately; the least comes next."""
        had = self.seconds + ITEM_SECONDS * self.pending
        return had / (MORE if self.lately else 1.0)

    def next(self, left: float | None = None) -> dict:
        """The item that is due; `left` are the seconds until the campaign ends, if it is then."""
        item = self._due()
        self.pending += 1
        self.lately = max(self.lately - 1, 0)
        return {
            "kernel": self.kernel,
            "only": self.only,
            "device": self.device,
            "on": self.about["device"],
            "timeout": self.timeout,
            "budget": BUDGET if left is None else max(min(left, BUDGET), 1.0),
            **item,
        }

    def _due(self) -> dict:
        if self.todo:
            return self.todo.popleft()
        for cold in self._cold():
            if lines := self._aimed(self._worth(cold)):
                return {"task": "lines", "lines": lines, "checks": None}
        turn = next(self._turns)
        if turn % HISTORIES == 0:
            return self._history()
        if self.hot and turn % 2:
            return self._under(self.hot.popleft())
        rounds = -(-self._cases() // ROUND)
        return {"task": "drawn", "seeds": _fresh(self.used_seeds, rounds)}

    def _cases(self) -> int:
        """As many as take ITEM_SECONDS."""
        if not self.cases:
            return FIRST_CASES
        return min(max(round(ITEM_SECONDS * self.cases / self.seconds), 1), MOST_CASES)

    def _cold(self) -> tuple[list, list]:
        return self.space.cold(self.pairs, self.triples)

    def _worth(self, cold: list) -> list:
        return [each for each in cold if self.aimed_at[each] < ATTEMPTS and not self.ahead[each]]

    def _aimed(self, cold: list) -> list[str]:
        """Lines that have as much as can be of what is cold, which is then ahead."""
        if not cold:
            return []
        wanted = set(cold)
        cases = cases_for(self.limits, wanted, self._cases(), next(self._aims) * MOST_CASES)
        if not cases:
            self.aimed_at.update(dict.fromkeys(cold, ATTEMPTS))  # no Case has them together
        for case in cases:
            together = pairs_of(case) | triples_of(case)
            self.aimed_at.update(together & wanted)
            self.ahead.update(together & wanted)
        return [str(case) for case in cases]

    def _history(self) -> dict:
        left = [name for name in canned(self.limits) if name not in self.asked_histories]
        if left:
            self.asked_histories.add(left[0])
            return {"task": "canned", "history": left[0]}
        seeds = _fresh(self.used_histories, 1)
        return {"task": "histories", "seeds": seeds, "examples": EXAMPLES}

    def _under(self, condition: str) -> dict:
        """Cases under one condition, with any other value that it can stand beside."""
        wanted = {each for each in self.space.pairs if ("condition", condition) in each}
        cases = cases_for(self.limits, wanted, self._cases(), next(self._aims) * MOST_CASES)
        return {"task": "lines", "lines": [str(case) for case in cases], "checks": None}

    def take(self, item: dict, result: dict) -> None:
        """Count what came of an item; what is left of it is asked later."""
        self.pending -= 1
        self._is_judged(item)
        self.tried = self.tried + 1 if result["cannot"] else 0
        if self.tried >= TRIED:
            self.left_out = result["cannot"]
        self._again(item, result["left"])
        if not result["cases"] and result["cannot"]:
            self._again(item, {} if result["left"] else _asked(item))
        self.seconds += result["seconds"]
        self.cases += result["cases"]
        self.verdicts.update(result.get("verdicts", {}))
        if "space" in result:
            self._cover(result)
        for document in result["findings"]:
            self.found.setdefault(key_of(document), document)
            self.lately = LATELY
            self.times += item["task"] != "known"
        if self.has_enough:
            self.todo = deque(one for one in self.todo if one["task"] == "known")

    def dropped(self, item: dict) -> None:
        """An item came to nothing, its worker being lost more than once."""
        self.pending -= 1
        self._is_judged(item)
        self.tried += 1

    def _is_judged(self, item: dict) -> None:
        """What an item was aimed at is no longer ahead."""
        if item["task"] == "lines" and self.ahead:
            for line in item["lines"]:
                case = Case.parse(line, self.limits.tokens)
                for each in pairs_of(case) | triples_of(case):
                    self.ahead.pop(each, None)

    def _again(self, item: dict, left: dict) -> None:
        if left.get("seeds"):
            self.todo.append({**_asked(item), "seeds": left["seeds"]})
        if left.get("known"):
            self.todo.append({"task": "known", "known": left["known"]})
        if left.get("lines"):
            rest = {"task": "lines", "lines": left["lines"], "checks": left["checks"]}
            self.todo.append(rest)

    def _cover(self, counted: dict) -> None:
        if counted["space"] == self.space.name:
            self.pairs |= int(counted["pairs"] or "0", 16)
            self.triples |= int(counted["triples"] or "0", 16)


def course_of(kernel: dict, described: dict, **options) -> Course:
    """The course of a kernel that a worker has described. Raises ValueError for --only."""
    limits = narrowed(Limits.from_json(described["limits"]), options.get("only", ""))
    return Course(kernel, limits, described["device"], **options)


def key_of(document: dict) -> tuple[str, ...]:
    """The same for the same finding of one kernel."""
    return tuple(document["asked"] or [document["verdict"]["line"]])


def _asked(item: dict) -> dict:
    """The fields of an item that say what is judged."""
    names = ("task", "lines", "checks", "seeds", "known", "history", "examples")
    return {name: item[name] for name in names if name in item}


def _fresh(used: set[int], count: int) -> list[int]:
    """The lowest numbers that are not in `used`, which then are."""
    found = list(itertools.islice((n for n in itertools.count() if n not in used), count))
    used.update(found)
    return found

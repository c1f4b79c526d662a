"""The committed score: benchmarks/mutants.json, and the section of README.md that is made of it."""

from __future__ import annotations

import json
import statistics
from collections import Counter

from .ledger import GPU, SAME
from .report import AREAS, Result
from .sites import ROOT, Mutant

STATE = ROOT / "benchmarks" / "mutants.json"
README = ROOT / "README.md"
BEGINS, ENDS = "<!-- mutants -->\n", "<!-- mutants end -->\n"
KILLED, SURVIVES, NOT_BUILT, NOT_JUDGED = "killed", "survives", "not built", "not judged"
ON_GPU = "killed on a GPU"
SHOWN_STAGES = 8  # of what killed most


def states(mutants: list[Mutant], result: Result, before: dict[str, str]) -> list[dict]:
    """What became of each mutant of the list: its area, its state, what killed it, in which time.

    `seconds` are of processor time, of all stages that it was put to. One that was not judged keeps
    what killed it `before`, as `killers` gives it.
    """
    trials = {trial.mutant.id: trial for trial in (*result.trials, *result.stillborn)}
    return [_state(mutant, trials.get(mutant.id), result, before) for mutant in mutants]


def _state(mutant: Mutant, trial, result: Result, before: dict[str, str]) -> dict:
    told = {"id": mutant.id, "area": mutant.area}
    if trial is None:
        last = before.get(mutant.id)
        return told | {"state": NOT_JUDGED} | ({"by": last} if last else {})
    told["seconds"] = round(trial.seconds, 1)
    if trial in result.stillborn:
        return told | {"state": NOT_BUILT}
    if trial in result.killed_there:
        shown = result.there[mutant.id]
        words = {"by": shown.tests, "verdict": shown.verdict, "where": shown.where}
        return told | {"state": ON_GPU} | words
    if trial.kill is None:
        entry = result.ledger.get(mutant.id)
        return told | {"state": entry.kind if entry else SURVIVES}
    kill = trial.kill
    words = {"by": kill.stage, "verdict": kill.verdict, "check": kill.check, "where": kill.where}
    return told | {"state": KILLED} | {name: word for name, word in words.items() if word}


def write(made: list[dict]) -> None:
    """Keep the score, a line for each mutant, and tell it in README.md."""
    lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in made)
    STATE.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    README.write_text(readme(README.read_text(encoding="utf-8"), made), encoding="utf-8")


def read() -> list[dict]:
    return json.loads(STATE.read_text(encoding="utf-8"))


def killers() -> dict[str, str]:
    """Mutant -> the stage that killed it last, as far as the record knows."""
    return {one["id"]: one["by"] for one in read() if "by" in one}


def readme(text: str, made: list[dict]) -> str:
    """`text` with the section between the marks made anew."""
    head, _, rest = text.partition(BEGINS)
    _, _, tail = rest.partition(ENDS)
    return f"{head}{BEGINS}{render(made)}{ENDS}{tail}"


def render(made: list[dict]) -> str:
    """Score, time and table, as Markdown."""
    counts = Counter(one["state"] for one in made)
    judged = len(made) - counts[NOT_JUDGED] - counts[NOT_BUILT]
    killed = [one for one in made if one["state"] == KILLED]
    lines = [
        f"Judged to the end: {judged} of {len(made)} listed; {counts[NOT_BUILT]} more do not "
        f"compile and do not count. {counts[KILLED]} killed, {counts[ON_GPU]} more on a GPU, "
        f"{counts[SAME]} equivalent, {counts[GPU]} that only a GPU can tell, {counts[SURVIVES]} "
        f"survive: {_share(counts, 0)} of those that are not equivalent.{_open(counts)}",
        "",
        _times(killed),
        "",
        *_table(made),
        "",
        f"First to notice: {_first(killed)}.",
    ]
    return "\n".join(lines) + "\n"


def _share(counts: Counter, more: int) -> str:
    """Killed, here or on a GPU, of killed, survivors and `more`."""
    killed = counts[KILLED] + counts[ON_GPU]
    return f"{killed / max(1, killed + counts[GPU] + counts[SURVIVES] + more):.1%}"


def _open(counts: Counter) -> str:
    """Nothing, where all are judged; else the least that the score can become."""
    count = counts[NOT_JUDGED]
    if not count:
        return ""
    return (
        f" The other {count} were not put to all of their tests; cheap tests come first, so more "
        f"of these may survive. Were none of them killed, it would be {_share(counts, count)}."
    )


def _times(killed: list[dict]) -> str:
    if not killed:
        return "Nothing was killed."
    worst = max(killed, key=lambda one: one["seconds"])
    median = statistics.median(one["seconds"] for one in killed)
    return (
        f"Processor seconds to the first kill, with the start of every process and all that passed "
        f"before; what killed a mutant the last time is asked first: median {median:.1f}, worst "
        f"{worst['seconds']:.0f} (`{worst['id']}`)."
    )


def _table(made: list[dict]) -> list[str]:
    columns = (KILLED, ON_GPU, SAME, GPU, SURVIVES, NOT_JUDGED)
    lines = [f"| area | listed | {' | '.join(columns)} | median s |", "|---" * 9 + "|"]
    for area in AREAS:
        here = [one for one in made if one["area"] == area]
        counts = Counter(one["state"] for one in here)
        times = [one["seconds"] for one in here if one["state"] == KILLED]
        median = f"{statistics.median(times):.1f}" if times else ""
        cells = " | ".join(str(counts[column]) for column in columns)
        lines += [f"| {area} | {len(here)} | {cells} | {median} |"] if here else []
    return lines


def _first(killed: list[dict]) -> str:
    counts = Counter(one["by"].split()[0].removeprefix("tests/") for one in killed)
    named = counts.most_common(SHOWN_STAGES)
    rest = len(killed) - sum(count for _, count in named)
    return ", ".join([*(f"`{name}` {count}" for name, count in named), f"others {rest}"])

"""The committed score of the mutants: README says what the record holds, of the list as it is."""

import json

from tests.mutants import listing, plans, proof, record, report
from tests.mutants.ledger import SAME, read_ledger
from tests.mutants.outcome import Outcome
from tests.mutants.score import Trial, Waiting
from tests.mutants.sites import mutants_of

CODE = "def f(a, b):\n    return a + b - a * b\n"


def trials():
    """A mutant that was killed in the second stage, one that survives, one that does not build."""
    first, second, third = mutants_of("kernels/packing.py", CODE)[:3]
    passed = Outcome("corpus", cpu=2.0)
    return [
        Trial(first, [], [passed, Outcome("drawn", "WRONG", "exact", "m1-n4", cpu=1.0)]),
        Trial(second, [], [passed]),
        Trial(third, [], [Outcome("runner", "NOT_BUILT", cpu=3.0)]),
    ]


def states(ledger=""):
    made = trials()
    more = mutants_of("kernels/checks.py", CODE)[:1]
    result = report.Result(made, read_ledger(ledger.format(made[1].mutant.id)))
    mutants = [*(trial.mutant for trial in made), *more]
    return record.states(mutants, result, {mutants[-1].id: "corpus", mutants[0].id: "runner"})


def test_the_readme_says_what_is_recorded():
    text = record.README.read_text()
    assert record.readme(text, record.read()) == text


def test_a_record_tells_what_became_of_each_mutant():
    made = states()
    wanted = [record.KILLED, record.SURVIVES, record.NOT_BUILT, record.NOT_JUDGED]
    assert [one["state"] for one in made] == wanted
    assert made[0]["seconds"] == 3.0
    assert made[-1]["by"] == "corpus"  # as before
    assert [made[0][name] for name in ("by", "verdict", "check", "where")] == [
        "drawn", "WRONG", "exact", "m1-n4",
    ]  # fmt: skip


def test_the_section_counts_what_is_recorded():
    text = record.readme("a\n<!-- mutants -->\nold\n<!-- mutants end -->\nb\n", states())
    assert text.startswith("a\n<!-- mutants -->\nJudged to the end: 2 of 4 listed; 1 more do")
    assert (
        "1 killed, 0 more on a GPU, 0 equivalent, 0 that only a GPU can tell, 1 survive: 50.0%"
        in text
    )
    assert "The other 1 were not put" in text
    assert "Were none of them killed, it would be 33.3%." in text
    assert "median 3.0, worst 3 (`packing.py:f:" in text
    assert (
        "\n| pack | 3 | 1 | 0 | 0 | 0 | 1 | 0 | 3.0 |\n| door | 1 | 0 | 0 | 0 | 0 | 0 | 1 |  |\n"
        in text
    )
    assert text.endswith("First to notice: `drawn` 1, others 0.\n<!-- mutants end -->\nb\n")


def test_what_is_explained_is_told_apart():
    assert "1 equivalent" in record.render(states("{} | same | nobody reads it"))
    assert "1 that only a GPU" in record.render(states("{} | gpu | a race | tests/t.py"))


def test_the_mutant_that_will_have_cost_least_goes_first():
    cost = {"dear": 9.0, "cheap": 1.0, "late": 0.0}
    waiting = Waiting(cost.__getitem__)
    for name in cost:
        waiting.appendleft(name)
    cost["late"] = 5.0  # known only since
    assert [waiting.popleft() for _ in cost] == ["cheap", "late", "dear"]
    assert not waiting


def test_the_record_is_of_mutants_that_are_listed():
    listed = {mutant.id for mutant in listing.scored()}
    assert {one["id"] for one in record.read()} <= listed


def test_what_is_recorded_of_equivalents_refutes_none_of_them():
    shown = json.loads(proof.STATE.read_text(encoding="utf-8"))
    same = {name for name, entry in read_ledger().items() if entry.kind == SAME}
    assert {one["id"] for one in shown} <= same
    assert not [one["id"] for one in shown if "differs" in one]
    passed_by = {one["id"] for one in shown if one["reach"] == proof.PAST}
    assert passed_by <= {one["id"] for one in shown if one["reach"] != proof.PAST}


def test_a_proof_is_kept_as_it_was_shown(tmp_path):
    mutant = trials()[0].mutant
    proof.write([proof.Proof(mutant, "calls", 500, "seed 2", proof.REACHED, False)], tmp_path / "p")
    told = {
        "id": mutant.id,
        "probe": "calls",
        "cases": 500,
        "reach": "reached",
        "differs": "seed 2",
    }
    assert json.loads((tmp_path / "p").read_text()) == [told]


def test_what_killed_a_mutant_the_last_time_is_asked_first_and_nothing_is_left_out():
    killed = {one["id"] for one in record.read() if one["state"] == record.KILLED}
    assert killed <= record.killers().keys()
    mutant = trials()[0].mutant
    stages = plans.plan(mutant)
    last = stages[-1]
    ordered = plans.killer_first({mutant.id: last.told})(mutant)
    assert [stage.name for stage in ordered] == [stage.name for stage in (last, *stages[:-1])]
    ordered = plans.killer_first({"another": last.told})(mutant)
    assert [stage.name for stage in ordered] == [stage.name for stage in stages]

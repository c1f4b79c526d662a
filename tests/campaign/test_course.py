"""What a kernel is asked next: in which order, how much of it, and what is not asked again."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from gptq_fuzz.campaign.campaign import Blind, Campaign, Until
from gptq_fuzz.campaign.carried import carried, laid_out
from gptq_fuzz.campaign.course import LATELY, Course, course_of
from gptq_fuzz.campaign.on_worker import judge
from gptq_fuzz.case.case import Case
from gptq_fuzz.museum.catalogue import Exhibit, correct, faulty
from gptq_fuzz.search.coverage import pairs_of, triples_of
from gptq_fuzz.search.fuzz import ATTEMPTS
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.store.store import Store
from gptq_fuzz.worker.supervisor import CannotRun
from tests.documents import DEVICE, batch, finding, named, plain
from tests.suite.helpers import SMALL

pytestmark = pytest.mark.turns(2)

NOTHING = {"cannot": "", "left": {}, "cases": 10, "seconds": 1.0, "findings": [], "gone": []}


def course(**more):
    described = {"limits": json.loads(json.dumps(plain(SMALL))), "device": DEVICE}
    return course_of(named() | {"text": "", "file": ""}, described, **more)


def bits(space, lines):
    """The coverage of these lines as a worker tells it."""
    seen = [Case.parse(line) for line in lines]
    pairs, triples = (
        sum(1 << at for at, one in enumerate(listed) if any(one in of(case) for case in seen))
        for listed, of in ((space.pairs, pairs_of), (space.triples, triples_of))
    )
    return {"space": space.name, "pairs": f"{pairs:x}", "triples": f"{triples:x}"}


def answered(mine: Course, item: dict, **more) -> None:
    covered = bits(mine.space, item.get("lines", []))
    mine.take(item, NOTHING | covered | more)


def test_what_is_known_comes_first_then_what_is_cold_then_chance():
    mine = course()
    mine.begin([["--case", "m1-n4-k4-b8-gall"]], ["m2-n4-k4-b8-gall-seq"])
    tasks, checks = [], []
    while not mine.is_covered:
        item = mine.next()
        tasks.append(item["task"])
        checks.append(item.get("checks"))
        answered(mine, item)
    assert tasks[0] == "known"
    assert set(tasks[1:]) == {"lines"}
    assert checks[1:] == sorted(checks[1:], key=lambda each: each != "all")
    assert mine.pairs.bit_count() == len(mine.space.pairs)
    assert mine.triples.bit_count() == len(mine.space.triples)
    assert {mine.next()["task"] for _ in range(8)} == {"canned", "drawn"}


def test_what_is_being_judged_is_not_asked_twice():
    mine = course()
    mine.begin([], [])
    mine.todo.clear()
    items = [mine.next() for _ in range(3)]
    lines = [line for item in items for line in item.get("lines", [])]
    assert len(lines) == len(set(lines)) > 3


def test_what_is_never_covered_is_given_up_after_some_attempts():
    mine = course()
    mine.todo.clear()
    for _ in range(40 * ATTEMPTS):
        if mine.is_covered:
            return
        mine.take(mine.next(), NOTHING)
    raise AssertionError("it goes on for ever")


def test_a_kernel_that_found_something_gets_more_time_until_it_has_enough():
    one, other = course(), course()
    for mine in (one, other):
        mine.begin([], [])
        mine.seconds = 10.0
    answered(one, one.next(), findings=[finding()])
    answered(other, other.next())
    assert one.share < other.share
    for _ in range(LATELY):
        one.next()
        one.pending -= 1
    assert one.share == other.share
    for _ in range(2):
        answered(one, one.next(), findings=[finding()])
    assert one.is_over
    assert not other.is_over
    crashed = finding()
    crashed["verdict"]["kind"] = "CRASHED"
    answered(other, other.next(), findings=[crashed])
    assert other.is_over


def test_a_store_says_what_need_not_be_drawn_again():
    mine = course()
    same = {"device": DEVICE["device"], "space": mine.space.name}
    mine.goes_on_from(
        [
            batch(seeds=[0, 1, 2, 5], space=same["space"], pairs="7", triples="1"),
            batch(task="canned:x rewritten", seeds=[], space="another", pairs="ff"),
            batch(task="histories", seeds=[0]),
            batch(name="other.py:f", seeds=[3], space=same["space"], pairs="f0"),
            batch(only="b4", seeds=[4], space=same["space"], pairs="f00"),
        ]
    )
    assert mine.pairs == 7
    assert mine.used_seeds == {0, 1, 2, 5}
    assert mine.used_histories == {0}
    assert mine.asked_histories == {"x rewritten"}


def test_what_is_left_of_an_item_is_asked_later():
    mine = course()
    mine.pending += 1
    item = {"task": "drawn", "seeds": [7, 8, 9]}
    rest = {"seeds": [8, 9], "lines": ["m1-n4-k4-b8-gall"], "checks": None}
    answered(mine, item, left=rest)
    later = list(mine.todo)
    assert {"task": "drawn", "seeds": [8, 9]} in later
    assert {"task": "lines", "lines": ["m1-n4-k4-b8-gall"], "checks": None} in later


def test_a_kernel_that_no_worker_can_run_is_left_out():
    mine = course()
    for _ in range(3):
        mine.take(mine.next(), NOTHING | {"cases": 0, "cannot": "no such module"})
    assert mine.left_out == "no such module"
    assert mine.is_over


def test_a_kernel_travels_as_text_or_by_its_version(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "mine.py").write_text("f = None\n")
    kernel = carried("mine.py:f", str(tmp_path))
    spec, folder = laid_out(kernel)
    assert spec == "mine.py:f"
    assert Path(folder, "mine.py").read_text() == "f = None\n"
    with pytest.raises(CannotRun, match="hash"):
        laid_out(kernel | {"text": "f = 1\n"})
    for installed in ("pytest:main", "aten:int4", "lorax:a/b.py"):
        assert laid_out(carried(installed))[0] == installed
    with pytest.raises(CannotRun, match="lacks"):
        laid_out(carried("nosuch.module:f"))
    with pytest.raises(CannotRun, match="wanted"):
        laid_out(carried("pytest:main") | {"version": "pytest 0.1"})
    with pytest.raises(CannotRun, match=r"wanted torch 0\.1, this worker has torch \d"):
        laid_out(carried("aten:int4") | {"version": "torch 0.1"})
    with pytest.raises(ValueError, match="none"):
        carried("none.py:f", str(tmp_path))


def item(spec, **more):
    about = {"kernel": carried(spec), "only": "", "device": None, "timeout": 20.0, "budget": 20.0}
    return about | more


@pytest.fixture(scope="module")
def pieces():
    kernels = {one.name: one for one in (*faulty(), *correct())}
    return kernels["zero_not_wrapped"], kernels["sequential"]


def test_a_worker_that_does_not_see_what_is_wrong_is_blind(pieces, tmp_path, monkeypatch):
    """A right kernel hangs where a wrong one should: this worker cannot tell."""
    monkeypatch.setattr("gptq_fuzz.campaign.on_worker.CANARY_ROUNDS", 1)
    wrong, right = pieces
    for shown, is_blind in ((wrong, False), (right, True)):
        canary = Exhibit("canary", shown.spec, "a bug", ("WRONG",))
        campaign = Campaign(None, Store(str(tmp_path)), Until(), canary, carried(shown.spec))
        campaign.workers = {"here": "asked"}
        asked = item(shown.spec, task="canary", wanted=["WRONG"], at="here")
        result = judge(asked)
        if is_blind:
            with pytest.raises(Blind, match="a bug"):
                campaign._see_canary(asked, result)
        else:
            campaign._see_canary(asked, result)
        assert campaign.has_seen_canary != is_blind


def test_a_worker_keeps_to_a_kernel_while_all_get_the_same(pieces, tmp_path):
    canary = Exhibit("canary", pieces[0].spec, "a bug", ("WRONG",))
    campaign = Campaign(None, Store(str(tmp_path)), Until(), canary, carried(pieces[0].spec))
    campaign.workers = dict.fromkeys("abcd", "seen")
    one, other = (SimpleNamespace(name=name, share=0.0, is_over=False) for name in ("one", "other"))
    campaign.courses = [one, other]
    campaign._begun = {"a": {"one"}, "b": {"other"}, "c": {"one", "other"}}
    one.share, other.share = 15.0, 0.0
    due = {at: campaign._due_at(at).name for at in "abcd"}
    assert due == {"a": "one", "b": "other", "c": "other", "d": "other"}
    one.share = 100.0  # far ahead: worth another process
    assert campaign._due_at("a").name == "other"
    other.is_over = True
    assert campaign._due_at("b").name == "one"
    one.is_over = True
    assert campaign._due_at("a") is None


def test_an_item_ends_with_its_first_finding_and_says_what_is_left(pieces):
    wrong, right = pieces
    lines = ["m5-n8-k64-b4-g16-randn", "m1-n4-k4-b8-gall", "m3-n4-k4-b8-gall"]
    found = judge(item(wrong.spec, task="lines", lines=lines, checks=None))
    assert [one["asked"][0] for one in found["findings"]] == ["--case"]
    assert found["findings"][0]["first"] == lines[0]
    assert {one["of"] for one in found["findings"][0]["pictures"]} == {"result", "weights"}
    assert found["left"] == {"lines": lines[1:], "checks": None}
    passed = judge(item(right.spec, task="lines", lines=lines, checks=None))
    assert passed["verdicts"] == {"PASS": 3}
    assert sum(passed["used"]["randn"]) == 1
    late = judge(item(right.spec, task="drawn", seeds=[0, 1], budget=0.0))
    assert (late["cases"], late["seeds"], late["left"]["seeds"]) == (0, [0], [1])
    assert len(late["left"]["lines"]) > 20
    again = judge(item(wrong.spec, task="known", known=[["--case", "m1-n4-k4-b8-gall"]]))
    assert len(again["findings"]) == 1
    gone = judge(
        item(right.spec, task="known", known=[["--case", "m1-n4-k4-b8-gall"], ["--x", "y"]])
    )
    assert (gone["findings"], gone["gone"]) == ([], [["--case", "m1-n4-k4-b8-gall"]])


def test_a_worker_that_has_lost_its_gpu_judges_nothing(pieces):
    """The kernel is then another: with other limits, and tokens that it has on the GPU unknown."""
    _, right = pieces
    on_a_gpu = item(right.spec, task="lines", lines=["m1-n4-k4-b8-gall"], checks=None, on="H200")
    assert judge(on_a_gpu)["cannot"].endswith("is judged on H200, this worker has CPU")
    assert judge(on_a_gpu)["cases"] == 0
    assert judge(on_a_gpu | {"on": "CPU"})["cases"] == 1


@pytest.fixture(scope="module", autouse=True)
def no_process_is_left():
    yield
    from gptq_fuzz.campaign import on_worker

    for kernel in on_worker._kernels.values():
        assert isinstance(kernel, KernelUnderTest)
        kernel.worker.stop()
    on_worker._kernels.clear()

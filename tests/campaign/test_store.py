"""A store: what is written is read, what is no document is named, two stores merge to the union."""

import json
import shutil
from pathlib import Path

import pytest

from gptq_fuzz.store.command import main
from gptq_fuzz.store.known import known, of_kernel
from gptq_fuzz.store.named import kernel_named
from gptq_fuzz.store.store import CannotReach, Store
from tests.documents import batch, finding, gone

MUSEUM = Path(__file__).parents[2] / "gptq_fuzz" / "museum"


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


def names(store):
    return {str(path.relative_to(store.address)) for path in Path(store.address).rglob("*.json")}


def test_what_is_written_is_read_by_its_kind(store):
    documents = [finding(), batch(), gone()]
    for one in documents:
        store.write(one)
        store.write(one)  # the same content is the same file
    assert [one for one in documents if one in store.documents()] == documents
    assert list(store.documents("batch")) == [documents[1]]
    assert len(names(store)) == 3
    assert store.skipped == []


@pytest.mark.parametrize("address", ["memory://store", "file://{}"])
def test_any_file_system_of_fsspec_will_do(address, tmp_path):
    store = Store(address.format(tmp_path / "store"))
    store.write(finding())
    assert list(Store(store.address).documents()) == [finding()]


def test_what_is_no_document_is_named_and_passed_over(store):
    store.write(finding())
    name = store.write(batch())
    folder = Path(store.address)
    damaged = folder / name
    damaged.write_text(damaged.read_text().replace("PASS", "FAIL"))
    (folder / "finding" / "notes.txt").write_text("hello")
    shutil.copy(next((folder / "finding").glob("*.json")), folder / "batch")
    for content in ("{}", "not json", "[" * 100000, json.dumps(finding() | {"format": 2})):
        store._put("finding", content.encode())
    wrong = finding()
    wrong["verdict"]["ratio"] = "<script>"
    store._put("finding", json.dumps(wrong).encode())
    assert list(store.documents()) == [finding()]
    assert len(store.skipped) == 8


def test_a_document_that_no_reader_would_take_is_not_written(store):
    with pytest.raises(ValueError, match="verdict"):
        store.write(finding() | {"verdict": {}})


def test_an_address_that_cannot_be_reached_is_said(tmp_path):
    with pytest.raises(CannotReach):
        Store("nosuch://place")
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotReach):
        Store(str(tmp_path / "file")).write(finding())


def test_two_stores_merge_to_the_union(tmp_path):
    one, other = (Store(str(tmp_path / name)) for name in ("one", "other"))
    for store, lines in (
        (one, ("m1-n4-k4-b8-gall", "m2-n4-k4-b8-gall")),
        (other, ("m2-n4-k4-b8-gall",)),
    ):
        for line in lines:
            store.write(finding(line))
    other.write(batch())
    union = names(one) | names(other)
    assert main(["merge", one.address, other.address]) == 0
    assert names(one) == union
    assert len(names(other)) == 2


def test_a_finding_is_known_from_its_first_time_to_its_last(store):
    first, last = "2026-11-01T00:00:00.000Z", "2026-11-09T00:00:00.000Z"
    for at in (last, first):
        store.write(finding(at=at))
    store.write(finding("m9-n4-k4-b8-gall", at=first))
    store.write(gone("m9-n4-k4-b8-gall"))
    store.write(gone(at="2026-11-05T00:00:00.000Z"))  # and it came back
    found = known(store.documents())
    assert [(one.first, one.last, bool(one.gone)) for one in found] == [
        (first, last, False),
        (first, first, True),
    ]


def test_a_finding_belongs_to_a_kernel_by_its_name_or_its_content(store):
    store.write(finding())
    found = known(store.documents())
    assert of_kernel(found, "mine.py:f", "")
    assert of_kernel(found, "elsewhere/mine.py:f", "ab" * 32)
    assert not of_kernel(found, "other.py:f", "")


def test_replay_says_what_still_fails_and_what_is_gone(tmp_path, capsys, monkeypatch):
    """The kernel that a store knows as wrong is mended, but for one of two findings."""
    monkeypatch.chdir(tmp_path)
    store = Store("store")
    shutil.copy(MUSEUM / "faulty" / "zero_not_wrapped.py", "mine.py")
    for line in ("m1-n4-k4-b8-gall", "m1-n4-k4-b8-gall-zsym"):
        store.write(finding(line))
    replay = ["replay", "--store", "store", "--kernel", "mine.py:f"]
    assert main(replay) == 1
    assert {one.gone != "" for one in known(store.documents())} == {True, False}
    assert main(["replay", "--store", "store", "--kernel", "mine.py:g"]) == 0  # none of it is known
    assert main(["replay", "--store", "store", "--kernel", "none.py:f"]) == 4
    assert "gone" in capsys.readouterr().out


def test_a_kernel_is_named_by_its_file_and_commit(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("f = None\n")
    named = kernel_named("mine.py:f", str(tmp_path))
    assert len(named["hash"]) == 64
    assert named["commit"] == ""
    ours = kernel_named(f"{MUSEUM / 'faulty' / 'all_zero.py'}:f")
    assert len(ours["commit"].partition("-")[0]) in (0, 40)  # 0: where there is no git
    assert kernel_named("triton")["version"]
    assert kernel_named("pytest:main")["version"].startswith("pytest ")

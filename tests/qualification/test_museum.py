"""The museum's command: what it runs, what it counts as missed, and the seconds that it prints."""

import json

import pytest

from gptq_fuzz.museum.catalogue import faulty
from qualification import museum

FOUND = {"stage": "tests", "kind": "WRONG", "line": "m1-n4-k4", "check": "value"}
SECONDS = {"all_zero": (0.5, 2.0), "m0_wrong": (1.5, 8.0)}


@pytest.fixture
def pretended(monkeypatch):
    """Two exhibits are found, no other one."""

    def examined(exhibit):
        times = SECONDS.get(exhibit.name)
        return FOUND | dict(zip(("first", "shrunk"), times, strict=True)) if times else {}

    monkeypatch.setattr(museum, "examined", examined)


@pytest.mark.usefixtures("pretended")
def test_where_all_are_caught_it_succeeds(tmp_path, capsys):
    assert museum.main([*SECONDS, "--results", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "caught: 2 of 2; missed: none" in printed
    assert "first failing verdict: median 1.0, worst 1.5" in printed
    assert "shrunk failing verdict: median 5.0, worst 8.0" in printed
    assert json.loads((tmp_path / "museum.json").read_text()).keys() == SECONDS.keys()


@pytest.mark.usefixtures("pretended")
def test_what_is_not_caught_fails(tmp_path, capsys):
    assert museum.main(["all_zero", "x_changed", "--results", str(tmp_path)]) == 1
    assert "caught: 1 of 2; missed: x_changed" in capsys.readouterr().out


def test_a_kernel_is_put_under_the_command_as_an_engineer_would():
    exhibit = next(exhibit for exhibit in faulty() if exhibit.name == "all_zero")
    found = museum.examined(exhibit)
    assert (found["kind"], found["stage"]) == ("WRONG", "tests")
    assert 0 <= found["first"] <= found["shrunk"]

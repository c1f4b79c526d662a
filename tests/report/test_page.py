"""The page as a parser reads it: complete, self-contained, with text of kernels as text."""

import json
import shlex
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gptq_fuzz.report.command import main
from gptq_fuzz.report.drawn import histogram, picture
from gptq_fuzz.report.facts import of_documents
from gptq_fuzz.report.page import bin_names, page
from gptq_fuzz.search.coverage import BINS
from gptq_fuzz.store.store import Store
from tests.documents import DEVICE, EVIL, PICTURE, batch, finding, gone

VOID = {"meta", "link", "input", "br", "img"}
TAGS_OF_SVG = {"svg", "path", "rect"}


class Read(HTMLParser):
    """Tags, attributes and text; a tag that is not closed raises."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text, self._open = [], [], [], []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    @property
    def words(self):
        return "".join(self.text)


def read(documents):
    return Read(page(of_documents(documents), "a title", "2026-11-20T00:00:00"))


@pytest.mark.parametrize("count", [0, 3, 3000])
def test_every_finding_is_there_with_its_command(count):
    found = read([batch(), *(finding(f"m{m + 1}-n4-k4-b8-gall") for m in range(count))])
    assert found.tags.count("article") == count
    assert found.tags.count("button") == count
    for m in (1, count) if count else ():
        assert f"gptq-fuzz --kernel mine.py:f --case m{m}-n4-k4-b8-gall" in found.words


def written_by(text):
    """A page about a kernel that has this wherever text of its own may be."""
    said = dict.fromkeys(("message", "where", "explained", "pattern", "larger"), text)
    device = DEVICE | {"device": text, "torch": text}
    found = finding(name=text, verdict=finding()["verdict"] | said, first=text, device=device)
    values = {f"bits={text}": 1}
    return read([found, batch(name=text, values=values, skips={text: 1}, most_by=text)])


def test_text_of_kernels_is_text():
    evil, tame = written_by(EVIL), written_by("tame")
    in_a_command = shlex.quote(EVIL)
    assert in_a_command in evil.words
    assert evil.words.count(EVIL) == tame.words.count("tame") - 1 > 10
    assert evil.tags == tame.tags
    assert [name for name, _ in evil.attributes] == [name for name, _ in tame.attributes]


def test_the_page_asks_for_nothing_else(tmp_path):
    for name in ("w4.svg", "w4.png", "notes.txt"):
        (tmp_path / name).write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    Store(str(tmp_path / "store")).write(finding(pictures=[PICTURE]))
    html = tmp_path / "page.html"
    words = ["--store", str(tmp_path / "store"), "--html", str(html), "--benchmarks", str(tmp_path)]
    assert main(words) == 0
    found = Read(html.read_text())
    places = [value for name, value in found.attributes if name in ("src", "href", "action")]
    assert len(places) == 3  # an icon, two pictures
    assert all(value.startswith("data:") for value in places)
    assert found.tags.count("svg") == 1


def test_the_page_says_what_is_right_and_what_is_gone():
    assert "no finding" in read([batch()]).words
    assert "nothing was judged" in read([]).words
    words = read([batch(), finding(), gone()]).words
    assert "no finding" in words
    assert "gone: WRONG" in words


def test_a_picture_has_a_rectangle_for_each_run_of_wrong_cells():
    drawn = picture(PICTURE)
    assert drawn.count("z") == 3
    assert "M0 0h8v4" in drawn  # cells 0 and 1 of the first row
    assert "M12 0h4v4" in drawn
    assert "M4 8h12v4" in drawn
    assert "M0 8h16" in drawn  # a border above row 4 of 2 a cell
    assert "M8 0v12" in drawn


def test_a_bin_that_holds_one_of_many_is_seen():
    assert histogram([1_000_000, 0, 1]).count("z") == 2
    assert len(bin_names()) == BINS


def test_a_folder_that_is_no_store_is_no_error_and_a_wrong_address_is(tmp_path, capsys):
    html = tmp_path / "page.html"
    assert main(["--store", str(tmp_path / "none"), "--html", str(html)]) == 0
    assert main(["--store", "nosuch://place", "--html", str(html)]) == 4
    assert "nosuch" in capsys.readouterr().err
    assert Path(html).exists()


def test_the_coverage_is_measured_against_the_last_promise(tmp_path):
    """What the bits of a store stand for is found again from the limits beside them."""
    from gptq_fuzz.case.backend import PLAIN_LIMITS
    from gptq_fuzz.store.documents import document
    from gptq_fuzz.store.space import space_of
    from tests.documents import named, plain

    space = space_of(PLAIN_LIMITS)
    limits = json.loads(json.dumps(plain(PLAIN_LIMITS)))
    promise = document("promise", named(), DEVICE, only="", space=space.name, limits=limits)
    documents = [promise, batch(space=space.name, pairs="7"), batch(space=space.name, pairs="18")]
    (kernel,) = of_documents(documents).kernels.values()
    assert kernel.pairs == (5, len(space.pairs))
    assert kernel.triples == (1, len(space.triples))
    assert len(kernel.cold) == len(space.triples) - 1
    assert dict(kernel.matrix)["bits"] == [("b8", 0), ("b4", 0), ("b2", 0)]

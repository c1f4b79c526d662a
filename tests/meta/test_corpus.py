"""Each line of the corpus can be read with the tokens of the built-in kernels, and names a bug."""

import pytest

from tests.bugs.table import ID
from tests.suite.case import Case
from tests.suite.corpus import OURS, our_corpus
from tests.suite.exllama_backend import EXLLAMA
from tests.suite.triton_backend import TRITON

TOKENS = (*TRITON.limits.tokens, *EXLLAMA.limits.tokens)


def test_every_line_is_a_case():
    for line in our_corpus():
        assert str(Case.parse(line, TOKENS)) == line


@pytest.mark.parametrize("path", sorted(OURS.glob("*.txt")), ids=lambda path: path.stem)
def test_lines_of_the_extension_name_what_they_guard_against(path):
    texts = [text for text in path.read_text().splitlines() if "-thd" in text.partition("#")[0]]
    assert all(ID.search(text.partition("#")[2]) for text in texts)


def test_every_way_through_the_extension_has_lines():
    """All four ways, with rows in order and not."""
    cases = [Case.parse(line, TOKENS) for line in our_corpus() if "-thd" in line]
    seen = {(dict(case.extra)["thd"], case.g_idx) for case in cases}
    assert {("0", "seq"), ("0", "act"), ("1", "seq"), ("1", "act"), ("8", "seq")} <= seen

"""Each line of the corpus can be read with the tokens of the built-in kernels, and names a bug."""

import re

import pytest

from gptq_fuzz.adapters.exllama import EXLLAMA
from gptq_fuzz.adapters.triton import TRITON
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.corpus import OURS, our_corpus

BUG_ID = re.compile(r"\b[A-Z]{1,2}-\d+\b|\bmuseum \d+\b")
TOKENS = (*TRITON.limits.tokens, *EXLLAMA.limits.tokens)


def test_every_line_is_a_case():
    for line in our_corpus():
        assert str(Case.parse(line, TOKENS)) == line


@pytest.mark.parametrize("path", sorted(OURS.glob("*.txt")), ids=lambda path: path.stem)
def test_lines_of_the_extension_name_what_they_guard_against(path):
    texts = [text for text in path.read_text().splitlines() if "-thd" in text.partition("#")[0]]
    assert all(BUG_ID.search(text.partition("#")[2]) for text in texts)


def test_every_way_through_the_extension_has_lines():
    """All four ways, with rows in order and not."""
    cases = [Case.parse(line, TOKENS) for line in our_corpus() if "-thd" in line]
    seen = {(dict(case.extra)["thd"], case.g_idx) for case in cases}
    assert {("0", "seq"), ("0", "act"), ("1", "seq"), ("1", "act"), ("8", "seq")} <= seen

"""`gptq-fuzz report`: a store as one page of HTML."""

from __future__ import annotations

from pathlib import Path

from gptq_fuzz.case.atomic import write_atomically
from gptq_fuzz.report.facts import of_documents
from gptq_fuzz.report.page import TYPES, page
from gptq_fuzz.store.documents import now
from gptq_fuzz.store.store import CannotReach, Store
from gptq_fuzz.store.words import Parser, add_store, complain, counted, say, tell_skipped


def main(words: list[str]) -> int:
    """Run the sub-command; gives the exit status."""
    parser = Parser("gptq-fuzz report", description=__doc__)
    add_store(parser)
    parser.add_argument(
        "--html", metavar="FILE", default="gptq-fuzz.html", help="default: %(default)s"
    )
    parser.add_argument(
        "--benchmarks", metavar="FOLDER", help="put the pictures of `gptq-fuzz bench` there in too"
    )
    asked = parser.parse_args(words)
    try:
        store = Store(asked.store)
        facts = of_documents(store.documents())
        facts.skipped = list(store.skipped)
        tell_skipped(store.skipped, store.address)
        files = sorted(Path(asked.benchmarks).iterdir()) if asked.benchmarks else []
        pictures = [path for path in files if path.suffix in TYPES]
        text = page(facts, f"gptq-fuzz: {asked.store}", now(), pictures)
        write_atomically(Path(asked.html), text.encode("utf-8", "replace"))
    except (CannotReach, OSError) as problem:
        return complain(str(problem))
    say(f"wrote {asked.html}: {counted(len(facts.findings), 'finding')} in {facts.cases} cases")
    return 0

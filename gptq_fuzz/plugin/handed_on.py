"""Where the results of a run go beside the terminal: a store, a page of HTML, GitHub."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from gptq_fuzz.plugin.report import write_report
from gptq_fuzz.plugin.session import Session
from gptq_fuzz.report.facts import of_run
from gptq_fuzz.report.github import tell_github
from gptq_fuzz.search.pictured import pictures
from gptq_fuzz.store.documents import now
from gptq_fuzz.store.run import findings_of

NEEDED = {"store": ("fsspec", "campaign"), "html": ("jinja2", "report")}


def require_packages(asked) -> None:
    """Raises UsageError for an option whose package is not there."""
    for option, (package, extra) in NEEDED.items():
        if getattr(asked, option) and not find_spec(package):
            raise pytest.UsageError(f"--{option} wants {package}: install gptq-fuzz[{extra}]")


def hand_on(session: Session, asked) -> str:
    """Add findings to the store, write the page; why that could not be done, "" where it was."""
    if not (asked.store or asked.html):
        return ""
    drawn = _pictures(session)
    try:
        for document in findings_of(session.report, asked.only, drawn) if asked.store else ():
            session.store.write(document)
        if asked.html:
            from gptq_fuzz.report.page import page

            text = page(of_run(session.report, drawn, now()), "gptq-fuzz", now())
            write_report(Path(asked.html), text.encode("utf-8", "replace"))
    except (OSError, ValueError) as problem:
        return str(problem)
    return ""


def _pictures(session: Session) -> dict[str, list[dict]]:
    """Of the findings of this process, by their commands."""
    return {
        finding.command: pictures(kernel, finding.verdict)
        for kernel in session.kernels.values()
        for finding in kernel.findings
        if not session.was_interrupted
    }


def show_on_github(session: Session, write) -> None:
    """As `tell_github`; nothing where the run knows of no kernel."""
    if session.report.get("kernels"):
        tell_github(of_run(session.report, {}, now()), write)

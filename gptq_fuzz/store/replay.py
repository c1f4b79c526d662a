"""Findings that are known, judged again on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gptq_fuzz.case.case import Case
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.search.claims import must_pass_cases
from gptq_fuzz.search.history import must_pass_steps
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.search import Failure
from gptq_fuzz.store.documents import about_device, document
from gptq_fuzz.store.known import Known
from gptq_fuzz.store.named import kernel_named


def replayed(
    kernel: KernelUnderTest, named: dict, found: Iterable[Known]
) -> Iterator[tuple[Known, dict, str]]:
    """(finding, document, text) of each: a `finding` where it still fails, else a `gone`.

    The document is {} where this kernel cannot be asked, and the text says why: it did not come
    back when it was found, or its line is none of this kernel's. `named` is `kernel_named` of it.
    """
    device = about_device(kernel.worker.description)
    for one in found:
        if not one.asked:
            yield one, {}, "seen once, not reproduced: nothing to ask again"
            continue
        kernel.findings.clear()
        kernel.only = one.latest["only"]
        try:
            ask_again(kernel, one.asked)
        except Failure as failure:
            yield one, finding(kernel, named, failure.verdict, one.asked), str(failure)
        except ValueError as problem:
            yield one, {}, str(problem)
        else:
            yield one, document("gone", named, device, asked=one.asked), ""


def ask_again(kernel: KernelUnderTest, asked: list[str]) -> None:
    """Judge what a finding was reported with. Raises Failure; ValueError for another's line."""
    options, lines = set(asked[::2]), asked[1::2]
    if options == {"--steps"} and len(lines) == 1:
        must_pass_steps(kernel, lines[0])
    elif options == {"--case"}:
        must_pass_cases(kernel, [Case.parse(line, kernel.limits.tokens) for line in lines])
    else:
        raise ValueError(f"wanted --case or --steps, not {' '.join(asked)}")


def must_pass_known(kernel: KernelUnderTest, one: Known, store) -> None:
    """Judge a finding of a store again; what passes now is noted there. Raises Failure."""
    try:
        ask_again(kernel, one.asked)
    except ValueError:  # its line is of a kernel with other tokens
        return
    if not one.gone:
        device = about_device(kernel.worker.description)
        store.write(document("gone", kernel_named(kernel.spec), device, asked=one.asked))


def finding(
    kernel: KernelUnderTest,
    named: dict,
    verdict: Verdict,
    asked: list[str],
    first: str = "",
    pictures=(),
) -> dict:
    """The document of one; `first` is the line that failed before it was made smaller."""
    return document(
        "finding",
        named,
        about_device(kernel.worker.description),
        asked=list(asked),
        only=kernel.only,
        first=first,
        verdict=verdict.to_json(),
        pictures=list(pictures),
    )

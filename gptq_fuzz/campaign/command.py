"""`gptq-fuzz campaign`: kernels judged on a Dask cluster for as long as is asked."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import distributed

from gptq_fuzz.campaign.campaign import Blind, Campaign, Lost, Until
from gptq_fuzz.campaign.carried import carried
from gptq_fuzz.campaign.cluster import PER_GPU, cluster_here, places
from gptq_fuzz.campaign.shown import Shown
from gptq_fuzz.case.corpus import read_corpus
from gptq_fuzz.museum.catalogue import faulty
from gptq_fuzz.plugin.endings import sigterm_as_ctrl_c
from gptq_fuzz.report.facts import of_documents
from gptq_fuzz.report.github import tell_github
from gptq_fuzz.store.known import known
from gptq_fuzz.store.store import CannotReach, Store
from gptq_fuzz.store.words import (
    FOUND,
    INTERRUPTED,
    WRONG_OPTION,
    Parser,
    add_store,
    complain,
    tell_skipped,
)
from gptq_fuzz.worker.loader import BUILT_IN
from gptq_fuzz.worker.supervisor import DEFAULT_TIMEOUT

CANARY = "zero_not_wrapped"  # wrong for one weight in some hundred, on any machine


def main(words: list[str]) -> int:
    """Run the sub-command; gives the exit status."""
    asked = _asked(words)
    try:
        kernels = [carried(spec) for spec in dict.fromkeys(asked.kernel or BUILT_IN)]
        corpus = [line for name in asked.corpus for line in read_corpus(Path(name))]
        store = Store(asked.store)
        found = known(store.documents("finding", "gone"))
        tell_skipped(store.skipped, store.address)
    except (CannotReach, OSError, ValueError) as problem:
        return complain(str(problem))
    status = INTERRUPTED
    # What comes while a cluster ends, which takes seconds, changes no verdict.
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as undo:
        undo.enter_context(sigterm_as_ctrl_c())
        try:
            client = undo.enter_context(_client(asked, undo))
        except OSError as problem:
            return complain(f"--scheduler {asked.scheduler}: {problem}")
        seconds = None if asked.minutes is None else 60.0 * asked.minutes
        until = Until(seconds, asked.cases, asked.until_covered)
        exhibit = next(one for one in faulty() if one.name == CANARY)
        campaign = Campaign(client, store, until, exhibit, carried(exhibit.spec))
        options = {"only": asked.only, "device": asked.device, "timeout": asked.timeout}
        status = run(campaign, kernels, found, corpus, options)
    return status


def run(campaign: Campaign, kernels, found, corpus, options: dict) -> int:
    """From its first question to its summary; gives the exit status."""
    shown = Shown()
    shown.tell(f"campaign: store {campaign.store.address}, dashboard {_dashboard(campaign)}")
    try:
        campaign.begin(kernels, found, corpus, **options)
        tell_skipped(campaign.store.skipped, campaign.store.address)
        with shown:
            campaign.run(shown)
    except Blind as problem:
        shown.summary(campaign)
        complain(f"this campaign was blind: {problem}")
        return FOUND
    except (CannotReach, ValueError) as problem:
        return complain(str(problem))
    except (Lost, distributed.TimeoutError, TimeoutError) as problem:
        return complain(f"no worker answered: {problem}")
    except KeyboardInterrupt:
        return INTERRUPTED
    shown.summary(campaign)
    facts = of_documents(campaign.written)
    facts.left_out |= campaign.left_out
    tell_github(facts, shown.tell)
    return _status(campaign)


def _status(campaign: Campaign) -> int:
    if campaign.findings:
        return FOUND
    if campaign.ended:
        return INTERRUPTED
    if not campaign.cases:
        return complain("no case was judged")
    if not campaign.has_seen_canary:
        return complain("no worker has been asked about what is known to be wrong") and FOUND
    return WRONG_OPTION if campaign.left_out else 0


def _dashboard(campaign: Campaign) -> str:
    return getattr(campaign.client, "dashboard_link", "") or "none"


def _client(asked, undo: contextlib.ExitStack) -> distributed.Client:
    if asked.scheduler:
        return distributed.Client(asked.scheduler)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    cluster = undo.enter_context(cluster_here(places(asked.per_gpu)))
    return distributed.Client(cluster)


def _positive(kind):
    def read(text: str):
        value = kind(text)
        if not value > 0:
            raise ValueError
        return value

    read.__name__ = f"positive {kind.__name__}"
    return read


def _asked(words: list[str]):
    parser = Parser("gptq-fuzz campaign", description=__doc__)
    parser.add_argument("--kernel", metavar="SPEC", action="append", default=[])
    parser.add_argument("--scheduler", metavar="ADDRESS", help="tcp://host:8786 of a Dask cluster")
    parser.add_argument("--minutes", type=_positive(float), help="end after so long")
    parser.add_argument("--cases", type=_positive(int), help="end after so many")
    parser.add_argument(
        "--until-covered", action="store_true", help="end when every pair and triple was judged"
    )
    parser.add_argument("--only", metavar="TOKENS", default="", help="draw and promise only these")
    parser.add_argument("--corpus", metavar="FILE", action="append", default=[])
    parser.add_argument("--device", metavar="DEVICE", help="cpu (default: the worker's first GPU)")
    parser.add_argument("--timeout", type=_positive(float), default=DEFAULT_TIMEOUT)
    parser.add_argument(
        "--per-gpu",
        type=_positive(int),
        metavar="N",
        help=f"Dask workers for each GPU of this machine (default: one a core, at most {PER_GPU})",
    )
    add_store(parser)
    asked = parser.parse_args(words)
    if not (asked.minutes or asked.cases or asked.until_covered):
        parser.error("wanted one of --minutes, --cases, --until-covered")
    return asked

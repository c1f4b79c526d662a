"""`gptq-fuzz store list|merge|replay`."""

from __future__ import annotations

import os

from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.store.known import known, of_kernel
from gptq_fuzz.store.named import kernel_named
from gptq_fuzz.store.replay import replayed
from gptq_fuzz.store.store import CannotReach, Store
from gptq_fuzz.store.words import FOUND, Parser, add_store, complain, counted, say, tell_skipped
from gptq_fuzz.worker.supervisor import DEFAULT_TIMEOUT, CannotRun, Launch


def main(words: list[str]) -> int:
    """Run the sub-command; gives the exit status."""
    asked = _parser().parse_args(words)
    try:
        return asked.run(asked)
    except (CannotReach, CannotRun, ValueError) as problem:
        return complain(str(problem))


def _parser() -> Parser:
    parser = Parser("gptq-fuzz store", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="list | merge | replay")
    listing = commands.add_parser("list", help="every finding: when, where, its command")
    listing.set_defaults(run=_list)
    merge = commands.add_parser("merge", help="copy into A what B has and A has not")
    merge.add_argument("a", metavar="A")
    merge.add_argument("b", metavar="B")
    merge.set_defaults(run=_merge)
    replay = commands.add_parser("replay", help="judge the findings of a kernel again, here")
    replay.add_argument("--kernel", metavar="SPEC", required=True)
    replay.add_argument("--device", metavar="DEVICE")
    replay.add_argument("--timeout", metavar="SECONDS", type=float, default=DEFAULT_TIMEOUT)
    replay.set_defaults(run=_replay)
    for each in (listing, replay):
        add_store(each)
    return parser


def _list(asked) -> int:
    store = Store(asked.store)
    found = known(store.documents("finding", "gone"))
    tell_skipped(store.skipped, store.address)
    for one in found:
        state = f"gone {one.gone}" if one.gone else f"last seen {one.last}"
        kind, where = one.latest["verdict"]["kind"], ", ".join(one.devices)
        say(f"{kind}, first seen {one.first}, {state}, {where}: {one.command()}")
    say(f"{counted(len(found), 'finding')}, {sum(not one.gone for one in found)} of them not gone")
    return 0


def _merge(asked) -> int:
    into, other = Store(asked.a), Store(asked.b)
    copied = into.take(other)
    tell_skipped(other.skipped, other.address)
    say(f"copied {counted(copied, 'file')} from {other.address} to {into.address}")
    return 0


def _replay(asked) -> int:
    named = kernel_named(asked.kernel)
    store = Store(asked.store)
    found = of_kernel(known(store.documents("finding", "gone")), asked.kernel, named["hash"])
    tell_skipped(store.skipped, store.address)
    if not found:
        say(f"{store.address} holds no finding of {asked.kernel}")
        return 0
    launch = Launch(asked.kernel, os.getcwd(), asked.device, timeout=asked.timeout)
    kernel = KernelUnderTest(launch)
    failing = 0
    try:
        kernel.worker.start()
        for one, document, text in replayed(kernel, named, found):
            if document:
                store.write(document)
            still = document.get("kind") == "finding"
            failing += still
            state = "still fails" if still else "gone" if document else f"not judged ({text})"
            say(f"{state}: {one.command(asked.kernel)}")
    finally:
        kernel.worker.stop()
    say(f"{failing} of {counted(len(found), 'finding')} of {asked.kernel} still fail")
    return FOUND if failing else 0

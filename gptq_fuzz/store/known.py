"""Findings out of documents: when each was first and last seen, where, and whether it is gone."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Known:
    """One finding, out of all documents about it; `latest` is the finding seen last."""

    latest: dict
    first: str
    last: str
    devices: dict[str, dict] = field(default_factory=dict)  # by name: as seen last
    versions: set[str] = field(default_factory=set)
    gone: str = ""  # when it was judged again and passed, later than it was last seen

    @property
    def kernel(self) -> str:
        return self.latest["kernel"]["name"]

    @property
    def asked(self) -> list[str]:
        """The options that ask for it again: `["--case", LINE]`; empty where it did not return."""
        return self.latest["asked"]

    @property
    def line(self) -> str:
        return self.latest["verdict"]["line"]

    def command(self, name: str = "") -> str:
        """The shell command that shows it again, where the kernel has this name (or its own)."""
        named = ["gptq-fuzz", "--kernel", name or self.kernel]
        narrowed = ["--only", self.latest["only"]] if self.latest["only"] else []
        return shlex.join([*named, *narrowed, *(self.asked or ["--case", self.line])])


def known(documents: Iterable[dict]) -> list[Known]:
    """What documents of the kinds `finding` and `gone` say, the most recent first."""
    found: dict[tuple, Known] = {}
    gone: dict[tuple, str] = {}
    for one in sorted(documents, key=lambda document: document["at"]):
        if one["kind"] == "gone":
            gone[_key(one)] = one["at"]
        elif one["kind"] == "finding":
            mine = found.setdefault(_key(one), Known(one, one["at"], one["at"]))
            mine.latest, mine.last = one, one["at"]
            mine.devices[one["device"]["device"]] = one["device"]
            mine.versions.add(versions(one["device"]))
    for key, at in gone.items():
        if key in found and at >= found[key].last:
            found[key].gone = at
    return sorted(found.values(), key=lambda each: (each.last, each.asked), reverse=True)


def _key(document: dict) -> tuple:
    line = document["verdict"]["line"] if document["kind"] == "finding" else ""
    return document["kernel"]["name"], tuple(document["asked"] or [line])


def versions(device: dict) -> str:
    """`driver 580.159, torch 2.13.0, triton 3.7.1`"""
    named = {name: device[name] for name in ("driver", "torch", "triton") if device[name]}
    return ", ".join(f"{name} {value}" for name, value in named.items())


def of_kernel(found: Iterable[Known], name: str, content: str) -> list[Known]:
    """Those of a kernel: by its name, or by the hash of its file and its name there."""

    def is_same(one: Known) -> bool:
        same_file = content and one.latest["kernel"]["hash"] == content
        return bool(same_file) and one.kernel.rpartition(":")[2] == name.rpartition(":")[2]

    return [one for one in found if one.kernel == name or is_same(one)]

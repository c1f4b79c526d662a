"""What a page says, as plain values, out of a store or out of one run.

`Facts.kernels` says of each kernel what was judged, `Facts.findings` what is wrong, the most recent
first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from gptq_fuzz.case.backend import Limits
from gptq_fuzz.case.only import narrowed
from gptq_fuzz.search.coverage import BINS
from gptq_fuzz.search.pairwise import possible_values
from gptq_fuzz.store.known import Known, known, versions
from gptq_fuzz.store.space import space_of


@dataclass
class Machine:
    """What one kind of device has judged of a kernel."""

    device: str
    versions: set[str] = field(default_factory=set)
    cases: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Cases a second, of one worker."""
        return self.cases / self.seconds if self.seconds else 0.0


@dataclass
class Kernel:
    """One kernel, over all machines. Pairs and triples: how many there are; None where unknown."""

    name: str
    commits: set[str] = field(default_factory=set)
    machines: dict[str, Machine] = field(default_factory=dict)
    verdicts: Counter = field(default_factory=Counter)
    skips: Counter = field(default_factory=Counter)
    values: Counter = field(default_factory=Counter)  # "axis=value"
    axes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    pairs: tuple[int, int] | None = None  # judged, possible
    triples: tuple[int, int] | None = None
    cold: list[str] = field(default_factory=list)  # triples that were not judged
    used: dict[str, list[int]] = field(default_factory=dict)  # by fill
    most: float = 0.0
    most_by: str = ""

    @property
    def cases(self) -> int:
        return sum(machine.cases for machine in self.machines.values())

    @property
    def matrix(self) -> list[tuple[str, list[tuple[str, int]]]]:
        """Each axis with its values, and how many cases had them."""
        axes = self.axes
        if not axes:
            named = sorted(key.split("=", 1) for key in self.values)
            axes = {axis: tuple(v for a, v in named if a == axis) for axis, _ in named}
        return [
            (axis, [(value, self.values[f"{axis}={value}"]) for value in values])
            for axis, values in axes.items()
        ]

    def add_used(self, counted: dict[str, list[int]]) -> None:
        for fill, counts in counted.items():
            mine = self.used.setdefault(fill, [0] * BINS)
            self.used[fill] = [a + b for a, b in zip(mine, counts, strict=False)]


@dataclass
class Found:
    """One finding, as the page shows it."""

    kernel: str
    command: str
    verdict: dict
    devices: dict[str, str]  # name -> versions
    first: str = ""
    last: str = ""
    gone: str = ""
    commit: str = ""
    as_found: str = ""  # the line that failed before it was made smaller
    pictures: list[dict] = field(default_factory=list)


@dataclass
class Facts:
    """A page."""

    kernels: dict[str, Kernel] = field(default_factory=dict)
    findings: list[Found] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)  # files of a store that were passed over

    def wrong(self, kernel: str) -> int:
        """How many findings of a kernel are not gone."""
        return sum(one.kernel == kernel and not one.gone for one in self.findings)

    @property
    def cases(self) -> int:
        return sum(kernel.cases for kernel in self.kernels.values())

    def kernel(self, name: str) -> Kernel:
        return self.kernels.setdefault(name, Kernel(name))


def of_documents(documents: Iterable[dict]) -> Facts:
    """Out of what a store holds."""
    facts, documents = Facts(), list(documents)
    covered: dict[tuple[str, str], list[int]] = {}
    for one in documents:
        if one["kind"] == "batch":
            _add_batch(facts.kernel(one["kernel"]["name"]), one)
            bits = covered.setdefault((one["kernel"]["name"], one["space"]), [0, 0])
            for place, name in enumerate(("pairs", "triples")):
                bits[place] |= _number(one[name])
    for one in sorted(documents, key=lambda document: document["at"]):
        if one["kind"] == "promise" and one["kernel"]["name"] in facts.kernels:
            _add_promise(facts.kernel(one["kernel"]["name"]), one, covered)
    facts.findings = [_of_known(one) for one in known(documents)]
    for found in facts.findings:
        facts.kernel(found.kernel)
    return facts


def share(counted: tuple[int, int]) -> str:
    """`99.9% of 2139`; all of them is 100% and nothing else is."""
    some, whole = counted
    percent = "100" if some == whole else format(min(100.0 * some / whole, 99.9), ".1f")
    return f"{percent}% of {whole}"


def _number(text: str) -> int:
    try:
        return int(text or "0", 16)
    except ValueError:
        return 0


def _add_batch(kernel: Kernel, batch: dict) -> None:
    device = batch["device"]
    machine = kernel.machines.setdefault(device["device"], Machine(device["device"]))
    machine.versions.add(versions(device))
    machine.cases += batch["cases"]
    machine.seconds += batch["seconds"]
    kernel.commits |= {batch["kernel"]["commit"]} - {""}
    for name in ("verdicts", "skips", "values"):
        getattr(kernel, name).update(batch[name])
    kernel.add_used(batch["used"])
    if batch["most"] > kernel.most:
        kernel.most, kernel.most_by = batch["most"], batch["most_by"]


def _add_promise(kernel: Kernel, promise: dict, covered: dict) -> None:
    """The last promise is what coverage is measured against."""
    bits = covered.get((kernel.name, promise["space"]))
    try:
        limits = narrowed(Limits.from_json(promise["limits"]), promise["only"])
        space = space_of(limits)
    except (AttributeError, KeyError, TypeError, ValueError):  # of another version of the package
        return
    if bits is None or space.name != promise["space"]:
        return
    pairs, triples = bits
    cold_pairs, cold = space.cold(pairs, triples)
    kernel.axes = possible_values(limits)
    kernel.pairs = len(space.pairs) - len(cold_pairs), len(space.pairs)
    kernel.triples = len(space.triples) - len(cold), len(space.triples)
    kernel.cold = sorted(
        " with ".join(f"{axis}={value}" for axis, value in sorted(together)) for together in cold
    )


def _of_known(one: Known) -> Found:
    document = one.latest
    return Found(
        one.kernel,
        one.command(),
        document["verdict"],
        {name: versions(device) for name, device in one.devices.items()},
        one.first,
        one.last,
        one.gone,
        document["kernel"]["commit"],
        document["first"],
        document["pictures"],
    )


def of_run(report: dict, pictures: dict[str, list[dict]], at: str = "") -> Facts:
    """Out of what `--json` writes of a run; `pictures` by the command of a finding."""
    facts = Facts(left_out=report["left_out"])
    for spec, seen in report["kernels"].items():
        kernel, about = facts.kernel(spec), seen["about"]
        kernel.machines[about["device"]] = Machine(
            about["device"], {versions(about)}, seen["cases"], seen["seconds"]
        )
        for name in ("verdicts", "skips", "values"):
            getattr(kernel, name).update(seen[name])
        for axis, value in (key.split("=", 1) for key in (*seen["values"], *seen["missing"])):
            kernel.axes[axis] = (*kernel.axes.get(axis, ()), value)
        kernel.pairs, kernel.triples = (
            (seen[f"{name}_possible"] - len(seen[f"{name}_missing"]), seen[f"{name}_possible"])
            for name in ("pairs", "triples")
        )
        kernel.cold = seen["triples_missing"]
        kernel.add_used(seen["used_by_fill"])
        kernel.most, kernel.most_by = seen["used"], seen["used_by"]
    for one in report["findings"]:
        about = report["kernels"].get(one["kernel"], {}).get("about")
        devices = {about["device"]: versions(about)} if about else {}
        command = one["reproduce"]
        found = Found(one["kernel"], command, one, devices, at, at)
        found.pictures = pictures.get(command, [])
        facts.findings.append(found)
    return facts

"""What the autotuner must do, call after call, on the fake machine of world.py.

Written from the documentation and from nothing of `kernels`: configs and keys are plain tuples.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field, fields, replace
from typing import NamedTuple

DEVICES = ("model A", "model A", "model B")  # cuda:0, cuda:1 and cuda:2
DTYPES = ("f16", "bf16", "f32")
KINDS = ("pruned", "divides", "plain", "ranked", "single", "untimed")  # of tuners
# What differs in a process from the first release.
RELEASES = ("", "triton", "torch", "source", "environment")
ERRORS = {
    "oor": "OutOfResources", "compile": "CompilationError", "crash": "RuntimeError",
    "oom": "OutOfMemoryError",
}  # fmt: skip
DEFAULT_BITS = 4
ARGUMENTS = ("x", "out", "M", "N", "K", "bits")


class Options(NamedTuple):
    """What a config makes of a launch."""

    block_m: int
    block_n: int
    block_k: int
    warps: int
    stages: int
    registers: int | None


CONFIGS = (
    Options(64, 64, 64, 4, 2, None),
    Options(16, 64, 64, 4, 2, None),  # the first one again where M is small
    Options(32, 32, 32, 8, 3, 128),
    Options(128, 32, 16, 8, 4, None),
)
HOOKS = {2: "one", 3: None, 4: "two"}  # stages of a config -> its hook


@dataclass(frozen=True)
class Call:
    """One call; prints as a word such as `m5.n8.k64.f32.off`, defaults left out."""

    m: int
    n: int
    k: int
    bits: int | None = None  # None: left out, the kernel has a default
    dtype: str = "f16"
    device: int = 0
    misaligned: bool = False
    by_position: int = 0  # so many leading arguments
    process: int = 0

    def __str__(self):
        words = [f"m{self.m}", f"n{self.n}", f"k{self.k}"]
        words += [] if self.bits is None else [f"b{self.bits}"]
        words += [self.dtype] * (self.dtype != "f16") + [f"d{self.device}"] * (self.device > 0)
        words += ["off"] * self.misaligned + [f"pos{self.by_position}"] * (self.by_position > 0)
        return ".".join(words + [f"p{self.process}"] * (self.process > 0))

    @classmethod
    def parse(cls, text: str) -> Call:
        """The Call that printed `text`; ValueError if none did."""
        found = _CALL.fullmatch(text)
        if not found:
            raise ValueError(f"{text!r} is no call, wanted one as m5.n64.k64.b4.f32.d1.off.pos2.p1")
        given = {name: value for name, value in found.groupdict().items() if value is not None}
        given = {name: _READ.get(name, int)(value) for name, value in given.items()}
        return cls(**given)

    @property
    def exact(self):
        return (self.m, self.n, self.k, DEFAULT_BITS if self.bits is None else self.bits)

    @property
    def as_given(self):
        """Equal for calls that pass the same arguments in the same way."""
        given = len(ARGUMENTS) - (self.bits is None)
        return replace(self, by_position=min(self.by_position, given))

    @property
    def bucket(self):
        """Calls that differ here never share a winner."""
        *sides, bits = self.exact
        classes = tuple("one" if side == 1 else side % 16 == 0 for side in (self.m, self.k))
        rounded = tuple(map(power_above, sides))
        return (*rounded, bits, self.dtype, self.misaligned, classes, self.device)


_READ = {"dtype": str, "misaligned": bool}
_CALL = re.compile(
    r"m(?P<m>\d+)\.n(?P<n>\d+)\.k(?P<k>\d+)(\.b(?P<bits>[248]))?(\.(?P<dtype>bf16|f32))?"
    r"(\.d(?P<device>[12]))?(\.(?P<misaligned>off))?(\.pos(?P<by_position>[1-6]))?"
    r"(\.p(?P<process>1))?"
)


def power_above(value: int) -> int:
    power = 1
    while power < value:
        power *= 2
    return power


def cost(options: Options, call: Call) -> int:
    """Milliseconds on the fake clock: the same for all calls of a bucket and all its devices."""
    *key, device = call.bucket
    return 1 + zlib.crc32(repr((tuple(options), key, DEVICES[device])).encode()) % 97


@dataclass
class Expected:
    """What a step must do."""

    raises: str = ""
    launches: list[Options] = field(default_factory=list)  # not timed, failed ones included
    compiled: list[Options] = field(default_factory=list)  # in a warmup
    benchmarks: int = 0
    ignored: int = 0  # warnings about a file that was not used
    unsaved: int = 0  # warnings about a result that was not kept
    saved: list[tuple] = field(default_factory=list)  # keys of files that were written


class Content(NamedTuple):
    """A file: whose result it holds (None: nobody's), and which config won."""

    owner: tuple | None
    winner: Options | None
    is_folder: bool = False


class Memory:
    """One process."""

    def __init__(self, release: str):
        self.release = release
        self.winners = {}  # bucket -> {exact: (config, configs it was chosen from)}
        self.paths = {}  # call -> config, of calls that were launched before


class Raised(Exception):
    """The call ends here."""


class Model:
    """State of all processes and of the folder; `call` and `warmup` return what is due."""

    def __init__(self, kind: str, direct: bool):
        self.kind, self.direct = kind, direct
        self.processes = [Memory(""), Memory("")]
        self.disk = {}  # key -> Content
        self.folder = "ok"  # or "file" (one is in its place), "readonly"
        self.failing = {}  # stages of a config -> kind of error
        self.capturing = False

    def call(self, call: Call) -> Expected:
        return self._guarded(self._call, call)

    def warmup(self, call: Call) -> Expected:
        return self._guarded(self._warmup, call)

    def _guarded(self, act, call):
        expected = Expected()
        try:
            if min(call.exact) < 1:
                raise Raised("ValueError")
            act(call, expected)
        except Raised as error:
            expected.raises = str(error)
        return expected

    def _call(self, call, expected):
        memory = self.processes[call.process]
        known = memory.paths.get(call.as_given)
        if known is not None and (self.direct or self._launch(known, expected)):
            expected.launches += [known] * self.direct  # loaded long ago: nothing can fail
            return
        options = self._choose(call, expected)
        if not self._launch(options, expected):
            if self.kind == "single" or self.capturing:
                raise Raised(ERRORS["oor"])
            options = self._choose_again(call, expected)
            if not self._launch(options, expected):
                raise Raised(ERRORS["oor"])
        memory.paths[call.as_given] = options

    def _launch(self, options, expected):
        """False where it is out of resources, which is worth another try."""
        expected.launches.append(options)
        error = self.failing.get(options.stages)
        if error not in (None, "oor"):
            raise Raised(ERRORS[error])
        return error is None

    def _warmup(self, call, expected):
        """Nothing is timed: the winner of an earlier process, or the first config that compiles."""
        expected.compiled = among = self.pruned(call)
        usable = [config for config in among if self.failing.get(config.stages) != "compile"]
        if not usable:
            raise Raised("RuntimeError")
        winners = self.processes[call.process].winners.setdefault(call.bucket, {})
        if call.exact in winners:
            return
        timed = len(among) > 1 and self.kind != "untimed"
        kept = self._load(self.key(call, among), expected) if timed else None
        winners[call.exact] = (kept if kept in usable else usable[0], among)

    def _choose(self, call, expected):
        winners = self.processes[call.process].winners.get(call.bucket, {})
        if call.exact in winners:
            return winners[call.exact][0]
        among = self.pruned(call)
        shared = [config for config, theirs in winners.values() if theirs == among]
        options = shared[0] if shared else self._best(call, among, expected)
        self.processes[call.process].winners.setdefault(call.bucket, {})[call.exact] = (
            options, among
        )  # fmt: skip
        return options

    def _choose_again(self, call, expected):
        winners = self.processes[call.process].winners
        winners.pop(call.bucket, None)
        among = self.pruned(call)
        options = self._best(call, among, expected, kept=False)
        winners[call.bucket] = {call.exact: (options, among)}
        return options

    def _best(self, call, among, expected, kept=True):
        if len(among) == 1 or self.kind == "untimed":
            return among[0]
        key = self.key(call, among)
        options = self._load(key, expected) if kept else None
        if options is not None:
            return options
        if self.capturing:
            raise Raised("RuntimeError")
        expected.benchmarks += len(among)
        running = [config for config in among if config.stages not in self.failing]
        for_want_of_memory = "oom" in {self.failing.get(config.stages) for config in among}
        if not running:
            raise Raised(ERRORS["oom"] if for_want_of_memory else "RuntimeError")
        options = min(running, key=lambda config: cost(config, call))
        if not for_want_of_memory:  # else another time they may run
            self._save(key, options, expected)
        return options

    def pruned(self, call) -> list[Options]:
        """The configs that are timed for a call, in order; at least one."""
        configs = list(CONFIGS[:1] if self.kind == "single" else CONFIGS)
        if self.kind == "divides":
            configs = [config for config in configs if call.k % config.block_k == 0]
        elif self.kind != "plain":
            needed = [max(16, power_above(side)) for side in (call.m, call.n, call.k)]
            shrunk = [(*map(min, config[:3], needed), *config[3:]) for config in configs]
            configs = [Options(*config) for config in dict.fromkeys(shrunk)]
        if self.kind == "ranked":
            configs = sorted(configs, key=lambda config: -config.block_m)[:2]
        if not configs:
            raise Raised("ValueError")
        return configs

    def key(self, call, among):
        """Calls that differ here never share a file; devices of one model do."""
        *rest, device = call.bucket
        return (*rest, DEVICES[device], self.processes[call.process].release, tuple(among))

    def key_of(self, call):
        """The key of the file that a call would read; None where it would read none."""
        try:
            return self.key(call, self.pruned(call))
        except Raised:
            return None

    def _load(self, key, expected):
        content = self.disk.get(key)
        if self.folder != "file" and content is None:
            return None
        if self.folder == "file" or content.owner != key:
            expected.ignored += 1
            return None
        return content.winner

    def _save(self, key, winner, expected):
        in_place = self.disk.get(key)
        if self.folder != "ok" or (in_place and in_place.is_folder):
            expected.unsaved += 1
            return
        self.disk[key] = Content(key, winner)
        expected.saved.append(key)


assert {f.name for f in fields(Call)} == set(_CALL.groupindex)

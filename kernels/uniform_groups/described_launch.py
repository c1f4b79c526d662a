"""Launches of a kernel that reads by TMA, for many x of one kind, with descriptors encoded once.

Triton's launcher encodes every descriptor anew in each launch, in Python, which takes the host
three times as long as the launch. So what it hands to the launch behind it is asked for once, for
each address of x, and handed over again with another stream and other results. Nothing of that is
promised by Triton: where its launcher is built otherwise, it is called.
"""

import copy
import types

MOST = 64  # addresses of x that are remembered; a model's layers share a few
BEHIND = "launcher"  # in the launcher's own closure: what it calls
SCRATCH = "global_scratch_size", "profile_scratch_size"  # memory that each launch would need


class DescribedLaunch:
    """x [M, K] of one kind times the weights of one layer.

    `kernel`: compiled, with its `grid`; `described`: a descriptor of such an x, which is not kept;
    `weights`: theirs; `rest`: arguments behind the three pointers to results.
    """

    def __init__(self, kernel, grid, described, weights, rest):
        self._launcher, self._grid = kernel.run, grid
        self._about = kernel.function, kernel.packed_metadata, None, None, None  # no hooks
        self._described, self._weights, self._rest = copy.copy(described), weights, rest
        self._described.base = None
        self._start = _behind(kernel.run)
        self._known = {}  # address of x -> what stands around stream and results

    def run(self, stream, x, *results):
        """`results`: addresses of the output, of its shares and of their counters."""
        if self._start is None:
            self._launch(self._launcher, stream, x, results)
            return
        known = self._known.get(x.data_ptr()) or self._found(x)
        before, between, listed, last = known
        if listed is None:
            self._start(*before, stream, *between, *results, *last)
        else:
            self._start(*before, stream, *between, [*listed, *results, *last])

    def _launch(self, launcher, stream, x, results):
        given = copy.copy(self._described)
        given.base = x
        launcher(*self._grid, stream, *self._about, given, *self._weights, *results, *self._rest)

    def _found(self, x):
        stream, *results = (object() for _ in range(4))
        given = []
        self._launch(_asked(self._launcher, given), stream, x, results)
        *outer, inner = given  # newer versions list what the kernel takes
        at, listed = given.index(stream), isinstance(inner, list)
        taken = inner if listed else given
        first = taken.index(results[0])
        known = (
            tuple(given[:at]),
            tuple(outer[at + 1 :] if listed else given[at + 1 : first]),
            tuple(inner[:first]) if listed else None,
            tuple(taken[first + len(results) :]),
        )
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[x.data_ptr()] = known
        return known


def _behind(launcher):
    """What Triton's launcher calls once descriptors are encoded; None where that is not known."""
    code = getattr(getattr(launcher, "launch", None), "__code__", None)
    wants_memory = any(getattr(launcher, name, 1) for name in SCRATCH)
    if code is None or BEHIND not in code.co_freevars or wants_memory:
        return None
    return launcher.launch.__closure__[code.co_freevars.index(BEHIND)].cell_contents


def _asked(launcher, given):
    """A launcher like this one, which puts what it would launch with into `given`."""

    def keep(*arguments):
        given[:] = arguments

    code, cells = launcher.launch.__code__, launcher.launch.__closure__
    closure = tuple(
        types.CellType(keep) if name == BEHIND else cell
        for name, cell in zip(code.co_freevars, cells, strict=True)
    )
    twin = copy.copy(launcher)
    twin.launch = types.FunctionType(code, launcher.launch.__globals__, closure=closure)
    return twin

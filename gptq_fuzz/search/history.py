"""Histories: the canned ones of every run, drawn ones, and a failing one made short.

A history is drawn as a whole and not by a machine of Hypothesis, step by step: it is then asked as
it is printed, in one request, and what fails is shortened in new processes, where nothing is left
of what was tried before. Hypothesis would shorten it in a process that each attempt has changed.
"""

from __future__ import annotations

import itertools
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.axes import BY_FIELD, WHOLE_GROUP, codes_in_words
from gptq_fuzz.case.backend import Limits
from gptq_fuzz.case.case import Case
from gptq_fuzz.case.history import (
    ALL,
    AMBIENT,
    BETWEEN,
    CHANGES,
    DEFAULTS,
    EXTENTS,
    FORM,
    INFERENCE,
    OF_NUMBERS,
    OPERANDS,
    OWN,
    PARAMETERS,
    PARTS,
    POOL,
    REORDERED,
    THREAD,
    WAYS,
    WHOLE,
    Step,
    parse_history,
    part_of,
)
from gptq_fuzz.case.known import waive
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.search.findings import keep
from gptq_fuzz.search.kernel import KernelUnderTest
from gptq_fuzz.search.own_time import own_time
from gptq_fuzz.search.series import Tally
from gptq_fuzz.worker.supervisor import Worker

SERIES = "history steps"
SECONDS = {True: 8.0, False: 40.0}  # for the canned histories of a slow kernel; 3 s do for others
ON_A_GPU = 60.0
DRAWN = 1 / 40  # of them, for one that is drawn
OF_A_SEED = 9  # histories, where ever new ones are drawn
SHORTEN_SECONDS = 60.0
IN_PLACE = 1 / 4  # of them, in the process that failed: quick, but what was tried before is in it
MODEL = 520  # layers of a large one: more than tables of 256 and 512 hold
EXPERTS = 8
LAYERS = 40  # in the round robin: more than a table of 32 holds
OTHERS = 72  # layers of which one or two are called between all others: more than 64 hold
HOT = 300  # calls
OF_A_SIZE = 18  # layers, of which all but one are alike: more than 16 buffers hold
ALIKE = {  # what they may differ in, and where limits list it
    "bits": "bits",
    "group_size": "group_sizes",
    "dtype": "dtypes",
    "scales_dtype": "scales_dtypes",
    "checkpoint_format": "formats",
}
MOST_ALIKE = 3  # values of these
IDLE = "wait-600"  # longer than half a second, after which something may be put to sleep
# The K of layers that a kernel may pad to one length, by tiles of 64 up to 256; the largest first
PADDED = (256, -1, 200), (128, 72)  # -1: the unit of K less than the one before
PERIODS = [2**bits for bits in range(4, 13)]  # calls after which a counter of some bits is back
LARGE = 512, 4096  # rows and columns of results that are held: 4 MiB each in 16 bits
STEPS = 4200  # of decoding: more calls of one layer than 12 bits count
WRITES = 2**8, 2**16  # after which a count of so many bits is what it was
LONG_SUM = 2048  # terms
ROUNDED = 256, 1024  # columns, and terms of each sum, of results in which their order shows
# Columns and terms of layers that threads call, long enough to meet, and how many layers: then such
# as are shared out among threads of the kernel's own
OF_THREADS = (256, 512, 40), (512, 1024, 8)
# The operators at which a call is broken off: of its beginning, then of all of them, as many as the
# call before made
BROKEN = [f"op{at}" for at in range(1, 9)]
LATER = [*(f"op{at}of4" for at in range(1, 4)), *(f"last{at}" for at in range(6, 0, -1))]
STOPPED = range(1, 13)  # at which `prepare` is
# Histories that are asked of layers of parameters, too
OF_PARAMETERS = (
    *(f"{operand} rewritten" for operand in OPERANDS),
    *("operands replaced", "operands moved", "operands of the same id", "written after many calls"),
    *("copied", "twins", "dropped and loaded"),
    *(f"{operand} shared" for operand in OPERANDS[1:]),
    "bias",
)
REST = 257  # rows of which pieces of any power of two leave a rest
# Asked in a process of its own; the first of a kernel that promises them
SAME_BITS, INFERENCE_FIRST = "the same bits", "inference first"
MORE_ROWS = (2, 17, 1, 65, 3)

Steps = list[str]


def tokens_of(limits: Limits, number: int = 0, scale: int = 1) -> str:
    """`n8-k16-b4-g8-act-s1`: a small layer of two groups within the limits; `number` is its seed.

    `scale` doubles its sides.
    """
    bits = 4 if 4 in limits.bits else limits.bits[0]
    word = codes_in_words(bits)
    _, n, k = limits.units(word)
    n, k = scale * n * (2 if n == word else 1), scale * k * (4 if k == word else 1)
    group_size = _group_size(limits, k)
    k = max(k, -(-2 * group_size // k) * k) if group_size != WHOLE_GROUP else k
    return tokens(_layer(limits, n=n, k=k, bits=bits, group_size=group_size, seed=number))


def smallest_of(limits: Limits, number: int = 0) -> str:
    """The layer of one word, the smallest of all; `number` is its seed."""
    bits = max(limits.bits)
    _, n, k = limits.units(codes_in_words(bits))
    sizes = limits.group_sizes or (WHOLE_GROUP,)
    size = WHOLE_GROUP if WHOLE_GROUP in sizes else min(sizes)
    return tokens(_layer(limits, n=n, k=k, bits=bits, group_size=size, seed=number))


def _group_size(limits: Limits, k: int) -> int:
    if limits.group_sizes is None:
        return k // 2
    sizes = [size for size in limits.group_sizes if size != WHOLE_GROUP]
    return min(sizes, default=WHOLE_GROUP)


def _layer(limits: Limits, **more) -> Case:
    """A case of the simplest values of all axes, but rows in any order."""
    rank = _plain(limits.laid_out, 2)
    layout = _plain(limits.layouts_of(rank), "")
    plain = {
        "g_idx": "act" if "act" in limits.g_idx else limits.g_idx[0],
        "zeros": limits.zeros[0],
        "checkpoint_format": limits.formats[0],
        "dtype": limits.dtypes[0],
        "scales_dtype": limits.scales_dtypes[0],
        "layout": BY_FIELD["layout"].with_number(layout, 1),
        "rank": rank,
        "start": _plain(limits.starts, 0),
        "fill": _plain(limits.fills, "exact"),
        "extra": tuple((t.name, t.values[0]) for t in limits.tokens if not t.optional),
    }
    return Case(**limits.fitted(plain | {"m": 1} | more))


def _plain(values: tuple, wanted):
    return wanted if wanted in values else values[0]


def tokens(case: Case) -> str:
    """What `load` takes: the line of a case without its rows."""
    return str(case).partition("-")[2]


def canned(limits: Limits) -> dict[str, Steps]:
    """Name -> steps of the cheap histories that every run asks."""
    layers = [tokens_of(limits, number) for number in range(LAYERS)]
    load = [f"load-{number}-{layer}" for number, layer in enumerate(layers)]
    wide = f"load-1-{tokens_of(limits, 1, 2)}"
    one = max(1, limits.m_least)
    rows = MORE_ROWS if _is_free(limits) else (1,)
    rows = tuple(dict.fromkeys(max(m, one) for m in rows))
    two = rows[0]
    first = [load[0], f"call-0-m{two}"]
    more = [f"call-0-m{max(rows)}-s1", f"call-0-m{one}"]
    found: dict[str, Steps] = {}
    for operand in changeable(limits):
        writes = [f"write-0-{operand}-{EXTENTS[at % 4]}-s{at}" for at in range(8)]
        found[f"{operand} rewritten"] = first + _each(writes, ["again-0"])
    replaced = [f"replace-0-{name}-s{at}" for name in changeable(limits) for at in range(3)]
    found["operands replaced"] = first + _each(replaced, ["again-0"])
    of_one_group = [
        f"write-0-{name}-{extent}-s{at}"
        for at, name in enumerate(changeable(limits)[:3])
        for extent in ("word", "all")
    ]
    found["one group rewritten"] = [
        *(f"load-0-{smallest_of(limits)}", f"call-0-m{two}"),
        *_each(of_one_group, ["again-0"]),
    ]
    found["operands rewritten together"] = first + list(_rewritten_together(limits))
    moved = [f"move-0-{name}" for name in (*changeable(limits), ALL)]
    found["operands moved"] = [
        *(*load[:2], f"call-1-m{two}", "again-0"),
        *_each(moved, ["again-0", "again-1", "again-0"]),
    ]
    idle = [f"write-0-{changeable(limits)[0]}-all", "again-0", IDLE, "again-0", "again-1"]
    found["idle"] = [*load[:2], f"call-1-m{two}", "again-0", *idle]
    if mixed := list(_among_others_of_its_size(limits, one)):
        found["layers of one size"] = mixed
    found["written many times"] = first + _each(
        [
            f"write-0-{name}-{extent}-s{at}-x{times}"
            for at, (name, extent, times) in enumerate(
                itertools.product(changeable(limits), ("all", "word"), WRITES)
            )
        ],
        ["again-0"],
    )
    if "threads2" in limits.conditions:
        found["by a second thread"] = list(_by_a_second_thread(limits, load, two))
    if under := list(_dropped_under_conditions(limits, layers, two)):
        found["dropped under conditions"] = under
    if long := list(_in_long_sums(limits, rows)):
        found["long sums"] = long
    found["x rewritten"] = first + _each([f"x-s{at}" for at in range(1, 9)], ["again-0"])
    found["one x for two layers"] = [*load[:2], f"call-0-m{two}", *["again-1", "again-0"] * 6]
    found["one row first"] = [load[0], f"call-0-m{one}", *(f"call-0-m{m}-s{m}" for m in rows)]
    fewer = [f"call-0-m{m}" for m in (*reversed(rows), one)]
    found["many rows first"] = [load[0], *fewer]
    turns = [f"call-{number}-m{two}-s{at}" for at in range(12) for number in (0, 1)]
    found["two layers in turn"] = [*load[:2], *turns]
    found["two shapes in turn"] = [load[0], wide, *turns]
    found["many layers"] = [*load, *[f"call-{at}-m{one}" for at in range(LAYERS)] * 2]
    for operand in shareable(limits):
        write = [f"write-0-{operand}-all"] if operand in changeable(limits) else []
        found[f"{operand} shared"] = _with_one_operand(operand, load[0], two, write)
    if mixed := list(_with_one_order(limits, two)):
        found["g_idx of other layers"] = mixed
    if sliced := list(_of_one_table(limits, rows)):
        found["g_idx of one table"] = sliced
    if _is_free(limits) and (parted := list(_by_parts_of_x(limits, layers[:2], one))):
        found["parts of one x"] = parted
    if limits.backward:
        found["gradients in between"] = list(_with_gradients(limits, two))
    if in_a_row := list(_in_a_row(limits, two)):
        found["layers in a row"] = in_a_row
    tracked = [f"track-0-m{m}-s{m}" for m in (two, *rows)]
    found["x with a gradient"] = [load[0], *_each(tracked, [f"call-0-m{two}", "again-0"])]
    each_expert = [f"calls-{EXPERTS}-m{two}", "x-s1", f"calls-{EXPERTS}-m{two}"]
    written = [f"write-{number}-scales-all" for number in (3, 5)]
    found["experts of one tensor"] = [
        *(f"experts-{EXPERTS}-{layers[0]}", *each_expert),
        *_each(written, ["again-3", "again-4", "again-5"]),
        *_each([f"{write}-s1" for write in written], ["again-4", "again-5", "again-3"]),
    ]
    copied = ["copy-1-0", "again-1", "write-1-scales-all", "again-1", "again-0"]
    model = f"loads-{MODEL}-{smallest_of(limits)}"
    found["layers of a model"] = [model, *[f"calls-{MODEL}-m{one}"] * 2]
    found["copied"] = [*first, *copied, "write-0-qweight-all", "again-0", "again-1"]
    again = [f"load-0-{layer}" for layer in (*_in_other_orders(limits, layers[5]), *layers[1:5])]
    found["memory used again"] = _each(again, [f"call-0-m{two}", "again-0"])
    found["dropped and loaded"] = [*load[:2], *turns[:4], "drop-0", *_loaded_over(layers, two)]
    found["many calls of a layer"] = [load[0], f"call-0-m{one}-x60", *more, "again-0-x240", *more]
    smallest = f"load-0-{smallest_of(limits)}"
    after = "again-0", f"call-0-m{two}"
    rest = [f"call-0-m{REST}"] * _is_free(limits)
    found["many calls of a word"] = [smallest, f"call-0-m{one}", "again-0-x2000"]
    is_bare = _is_bare(limits)
    found["written after many calls"] = list(_written_when_hot(limits, load[0], one))
    found["between all others"] = list(_between_all_others(limits, one))
    renewed = [f"renew-0-{name}-s{at}" for name in changeable(limits) for at in range(3)]
    found["operands of the same id"] = first + _each(renewed, ["again-0"])
    if padded := list(_padded_alike(limits, rows)):
        found["padded to one K"] = padded
    for verb, name in (("break", "broken off"), ("interrupt", "interrupted")):
        broken = [f"{verb}-0-m{two}-{at}" for at in (*BROKEN, *LATER)]
        found[name] = [
            step
            for at, one_broken in enumerate(broken)
            for step in (
                *(f"load-0-{layers[2 * at]}", f"call-0-m{two}"),
                *(f"load-0-{layers[2 * at + 1]}", one_broken, *after),
            )
        ] + [*_each(broken, ["again-0"]), *more, *rest]
        found[f"written and {name}"] = first + [
            step
            for at, one_broken in enumerate(broken)
            for step in (
                *(f"write-0-scales-all-s{2 * at}", "again-0"),
                *(f"write-0-scales-all-s{2 * at + 1}", one_broken, "again-0"),
            )
        ]
        found[f"{name} at first"] = first + list(_broken_at_first(limits, layers[1], verb, two))
    if under := list(_broken_under_conditions(limits, layers, two)):
        found["broken off under conditions"] = under
    found["left to the collector"] = list(_left_to_the_collector(layers, two))
    in_threads = [f"break-0-m{two}-{at}-{THREAD}" for at in (*BROKEN, *LATER)]
    found["broken off in a thread"] = (
        first
        + [
            step
            for at, broken in enumerate(in_threads)
            for step in (f"write-0-scales-all-s{at}", broken, "again-0", f"call-0-m{two}-s1")
        ]
        + _each(in_threads, ["again-0"])
    )
    while_it_waits = [f"interrupt-0-m{two}-{at}-{THREAD}" for at in (*BROKEN, *LATER)]
    found["interrupted while it waits"] = first + _each(
        while_it_waits, [f"call-0-m{two}-s1", "again-0"]
    )
    if forms := list(_in_other_forms(limits, layers[0], two)):
        found["x of other forms"] = forms
    stopped = [f"stop-0-op{at}-s{at}" for at in STOPPED]
    found["loading interrupted"] = first + [
        step
        for at, stop in enumerate(stopped)
        for step in (stop, "again-0", f"write-0-scales-all-s{at}", "again-0")
    ]
    freed = ["free-0", "again-0", load[1], f"call-1-m{two}", "free-1", "again-1"]
    found["operands freed"] = [*first, *freed, f"call-0-m{two}-s2", "again-1"]
    found["twins"] = [step for way in WAYS for step in _twins(way, *first)]
    if conditions := list(_under_conditions(limits, layers, two)):
        found["other conditions"] = conditions
    if rewritten := list(_rewritten_in_inference(limits, load, two)):
        found["x of inference mode rewritten"] = rewritten
    if inferred := list(_inference_first(limits, load, rows)):
        found[INFERENCE_FIRST] = inferred
    if not limits.m_least and _is_free(limits):
        found["no rows first"] = [load[0], "call-0-m0", f"call-0-m{two}"]
    both = [smallest, f"load-1-{smallest_of(limits, 1)}"]
    other = "decode-1" if is_bare else "again-1"  # the first is quicker
    found["after whole periods"] = both + [
        step
        for at, period in enumerate(PERIODS)
        for step in (f"call-0-m{one}-s{at}", f"{other}-x{period - 1}", f"x-s{at + 50}", "again-0")
    ]
    if large := _large_of(limits):
        held = [f"call-0-m{LARGE[0]}-s{seed}" for seed in range(4)]
        found["large results held"] = [f"load-0-{large}", *held]
    if in_any_order := _rounded(limits, rows, one):
        found[SAME_BITS] = in_any_order
    if under := list(_threads_under_conditions(limits, layers[0], two)):
        found["threads under conditions"] = under
    if by_threads := _by_threads(limits, max(one, *rows)):
        found["many layers at once"] = by_threads
    if limits.bias:
        biased = Case.parse(f"m{one}-{layers[0]}", limits.tokens).replace(bias=True)
        if not limits.violations(biased):
            written = ["write-0-bias-all-s1", "write-0-bias-word-s2", "replace-0-bias-s3"]
            load_biased = [f"load-0-{tokens(biased)}", f"call-0-m{two}"]
            found["bias"] = load_biased + _each(written, ["again-0"])
    if limits.out:
        given = tokens(Case.parse(f"m{one}-{layers[0]}", limits.tokens).replace(out=True))
        calls = [f"call-0-m{m}" for m in (*rows, one)]
        found["into out"] = [f"load-0-{given}", load[1], *_each(calls, ["again-0", "again-1"])]
    if limits.bad:
        refused = [f"refuse-0-bad{bad}" for bad in limits.bad]
        if changeable(limits)[-1] == "g_idx":
            refused += [f"{step}-{OWN}" for step in refused if step.endswith(OF_NUMBERS)]
        found["refused"] = first + _each(refused, ["again-0"])
    if is_bare:
        decoded = [smallest, f"call-0-m{one}", f"decode-0-x{STEPS}", "again-0"]
        found["steps of decoding"] = [*decoded, *more]
    if PARAMETERS in limits.conditions:
        found["layers of parameters"] = list(_of_parameters(limits, found))
    return found


def _of_parameters(limits: Limits, others: dict[str, Steps]) -> Iterator[str]:
    """What layers of plain tensors are asked, of parameters; each of these moved, then written, as
    where an engine puts `p.data` elsewhere and loads a checkpoint. Then layers of both kinds.
    """
    for name in OF_PARAMETERS:
        yield from (_with_parameters(limits, step) for step in others.get(name, []))
    load, other, *turns = others["two layers in turn"]
    yield from (_with_parameters(limits, load), turns[0])
    for at, name in enumerate(changeable(limits)):
        for extent in EXTENTS[:3]:
            yield from (f"move-0-{name}", "again-0", f"write-0-{name}-{extent}-s{at}", "again-0")
    yield from (load, _with_parameters(limits, other), *turns)


def _with_parameters(limits: Limits, step: str) -> str:
    """The step itself where it is not `load`."""
    verb, number, *layer = step.split("-", 2)
    if verb != "load":
        return step
    case = Case.parse(f"m{max(1, limits.m_least)}-{layer[0]}", limits.tokens)
    return f"load-{number}-{_prepared_under(limits, case, PARAMETERS) or layer[0]}"


def _written_when_hot(limits: Limits, load: str, one: int) -> Iterator[str]:
    """A layer called so often that a kernel may look no more at what it is made of; then it is
    written, or one operand is another tensor.
    """
    many = f"decode-0-x{HOT}" if _is_bare(limits) else f"again-0-x{HOT}"  # the first is quicker
    for at, name in enumerate(changeable(limits)):
        yield from (load, f"call-0-m{one}", many)
        for change in (f"write-0-{name}-word", f"write-0-{name}-row", f"replace-0-{name}"):
            yield from (f"{change}-s{at}", "again-0")


def _between_all_others(limits: Limits, one: int) -> Iterator[str]:
    """One layer, then two in turn, called after each call of another one: always among the last."""
    yield from (f"loads-{OTHERS}-{smallest_of(limits)}", f"call-0-m{one}")
    for steady in ([0], [0, 1]):
        yield from (f"again-{layer}" for other in range(2, OTHERS) for layer in (other, *steady))


def _left_to_the_collector(layers: list[str], rows: int) -> Iterator[str]:
    """Of two layers one is dropped, and collected in a call of the other one: its first, a later.

    Each call before says how many operators such a one makes.
    """
    for at, place in enumerate((*BROKEN, *LATER)):
        first, second = (f"load-{number}-{layers[2 * at + number]}" for number in (0, 1))
        yield from (first, f"call-0-m{rows}", f"leave-0-{place}", second, f"call-1-m{rows}")
        yield from (first, f"call-0-m{rows}", "again-1", f"leave-0-{place}", "again-1", "again-1")


def _padded_alike(limits: Limits, rows: tuple[int, ...]) -> Iterator[str]:
    """Layers of several K, the one of the largest called with NaN and infinities before the others.

    What lies behind K in scratch memory that they share is then no number.
    """
    plain = Case.parse(f"m1-{smallest_of(limits)}", limits.tokens)
    fill = "-nonfinite" if "nonfinite" in limits.fills else ""
    for sizes in PADDED:
        lengths = [size if size > 0 else sizes[0] - plain.k for size in sizes]
        layers = [plain.replace(k=length) for length in lengths if length > 0]
        taken = [layer for layer in layers if not limits.violations(layer.replace(m=rows[0]))]
        if len(taken) > 1:
            yield from (f"load-{at}-{tokens(layer)}" for at, layer in enumerate(taken))
            for m in rows:
                for at in range(1, len(taken)):
                    yield from (f"call-0-m{m}{fill}-s{at}", f"call-{at}-m{m}")


def _among_others_of_its_size(limits: Limits, rows: int) -> Iterator[str]:
    """A layer before and after several of its K and N but other bits, or groups, or dtypes, as a
    model and its draft have: scratch memory of their size may be one.
    """
    words = math.lcm(*(codes_in_words(bits) for bits in limits.bits[:MOST_ALIKE]))
    _, *units = limits.units(words)
    plain = Case.parse(f"m{rows}-{tokens_of(limits)}", limits.tokens)
    n, k = (-(-size // unit) * unit for size, unit in zip((plain.n, plain.k), units, strict=True))
    for field, listed in ALIKE.items():
        values = getattr(limits, listed) or (plain.group_size, WHOLE_GROUP)
        cases = [_fitting(limits, vars(plain) | {"n": n, "k": k, field: at}) for at in values]
        taken = [case for case in cases if case and (case.n, case.k) == (n, k)]
        for steady, others in itertools.permutations(dict.fromkeys(taken[:MOST_ALIKE]), 2):
            yield from (f"loads-{OF_A_SIZE}-{tokens(others)}", f"load-0-{tokens(steady)}")
            yield from (f"call-0-m{rows}", f"call-1-m{rows}")
            yield from (f"again-{number}" for number in range(2, OF_A_SIZE))
            yield f"call-0-m{rows}"


def _fitting(limits: Limits, fields: dict) -> Case | None:
    """A case of these fields, or almost; None where the kernel takes none."""
    try:
        case = Case(**limits.fitted(fields))
    except ValueError:  # dtypes that do not go together
        return None
    return None if limits.violations(case) else case


def _in_other_orders(limits: Limits, layer: str) -> Iterator[str]:
    """A layer with rows in each order that the kernel takes, back and forth."""
    plain = Case.parse(f"m1-{layer}", limits.tokens)
    for order in limits.g_idx:
        case = plain.replace(g_idx=order)
        if not limits.violations(case.replace(m=max(1, limits.m_least))):
            yield from (tokens(case), layer)


def _with_one_operand(operand: str, load: str, rows: int, write: Steps) -> Steps:
    """Two layers that have it, called in turn; it is written, then one of them dropped."""
    both = ["again-1", "again-0", "again-1"]
    shared = [load, f"call-0-m{rows}", f"share-1-0-{operand}", *both, f"call-1-m{rows}-s1"]
    dropped = ["drop-0", "again-1", f"share-0-1-{operand}"]
    return [*shared, "again-0", *write, *both, *dropped, *both]


def _with_one_order(limits: Limits, rows: int) -> Iterator[str]:
    """Layers of other bits, and one of more columns, that have the g_idx of the first one, which is
    of each bits once: called in turn, before and after rows of it change places.

    Groups are of whole words of any bits, then of some bits alone.
    """
    bits = limits.bits[:MOST_ALIKE]
    whole = math.lcm(*map(codes_in_words, bits))
    sizes = limits.group_sizes or (whole, min(map(codes_in_words, bits)))
    orders = [kind for kind in REORDERED if kind in limits.g_idx]
    write = ["write-0-g_idx-row"] * ("g_idx" in changeable(limits))
    for size, first in itertools.product(sizes[:2] if orders else (), bits):
        _, n, k = limits.units(math.lcm(whole, 1 if size == WHOLE_GROUP else size))
        fields = {"n": n, "k": 2 * k, "group_size": size, "g_idx": orders[0], "bits": first}
        plain = Case.parse(f"m{rows}-{tokens_of(limits)}", limits.tokens)
        case = _fitting(limits, vars(plain) | fields)
        if case is None or case.k % whole:
            continue
        others = [{"bits": other} for other in bits if other != first] + [{"n": 2 * n}]
        taken = [other for other in others if _is_taken(limits, case, other)]
        shares = ["".join(f"-{name[0]}{at}" for name, at in other.items()) for other in taken]
        again = [f"again-{number}" for number in range(1, len(taken) + 1)]
        yield from (f"load-0-{tokens(case)}", f"call-0-m{rows}")
        yield from (f"share-{at}-0-g_idx{other}" for at, other in enumerate(shares, 1))
        yield from (*again, "again-0", *write, *reversed(again), "again-0")


def parts_of(limits: Limits, x: Case) -> list[str]:
    """The parts of an x, with all of which it may be called."""

    def is_taken(part: str) -> bool:
        try:
            return not limits.violations(part_of(x, part))
        except ValueError:  # which has none
            return False

    return [part for part in PARTS if is_taken(part)]


def _by_parts_of_x(limits: Limits, layers: list[str], one: int) -> Iterator[str]:
    """A layer, then two in turn, called with parts of one x: those after each other have one
    address, one shape, or one stride, but other rows.
    """
    x = Case.parse(f"m{2 * max(2, one)}-{layers[0]}", limits.tokens)
    if parts := parts_of(limits, x):
        yield from (f"load-{number}-{layer}" for number, layer in enumerate(layers))
        yield f"call-0-m{x.m}"
        for seed_of, (first, second) in enumerate(((0, 0), (0, 1)), 1):
            for part in (*parts, *reversed(parts)):
                yield f"part-{first}-{part}"
                first, second = second, first
            yield from ("again-0", f"x-s{seed_of}", "again-1")
        yield from (f"part-0-{part}" for part in (*parts, parts[0]))


def _with_gradients(limits: Limits, rows: int) -> Iterator[str]:
    """Of a layer as wide as it is high, and of another."""
    layer = Case.parse(f"m1-{tokens_of(limits)}", limits.tokens)
    for number, case in enumerate((_square(layer), layer)):
        if not limits.violations(case.replace(m=max(1, limits.m_least))):
            yield f"load-{number}-{tokens(case)}"
            for at in range(2):
                yield from (f"call-{number}-m{rows}-s{at}", f"grad-{number}-m{rows}-s{at}")
            yield from (f"again-{number}", f"grad-{number}-m{rows}-s2")
            for at, name in enumerate(changeable(limits)):
                yield from (f"write-{number}-{name}-all-s{at}", f"grad-{number}-m{rows}-s{at}")
            yield f"again-{number}"


def _square(layer: Case) -> Case:
    """As wide as it is high."""
    side = math.lcm(layer.n, layer.k)
    return layer.replace(n=side, k=side)


def _in_a_row(limits: Limits, rows: int) -> Iterator[str]:
    """Two layers, each called with what the other one gave, after it was changed in place."""
    layers = [Case.parse(f"m{rows}-{tokens_of(limits, at)}", limits.tokens) for at in range(2)]
    square = [_square(layer) for layer in layers]
    if _is_bare(limits) and not any(map(limits.violations, square)):
        yield from (f"load-{number}-{tokens(layer)}" for number, layer in enumerate(square))
        for at, change in enumerate(CHANGES * 2):
            yield from (f"feed-1-0-m{rows}-s{at}-{change}", f"feed-0-1-m{rows}-s{at}-{change}")
            yield from ("again-1", f"feed-1-1-m{rows}-s{at}-{change}")


def _under_conditions(limits: Limits, layers: list[str], rows: int) -> Iterator[str]:
    """A layer prepared, or called first, under a condition that the next call does not have."""
    plain = Case.parse(f"m{rows}-{layers[0]}", limits.tokens)
    for condition in AMBIENT:
        if layer := _prepared_under(limits, plain, condition):
            call = f"call-0-m{rows}-{condition}"
            yield from (f"load-0-{layer}", f"call-0-m{rows}", call)
            yield from (f"load-0-{layers[1]}", call, "again-0")
            yield from (
                f"load-1-{layers[2]}",
                f"call-1-m{rows}-{condition}",
                f"again-0-{condition}",
            )
            yield from ("write-0-scales-all", f"again-0-{condition}")


def _rewritten_together(limits: Limits) -> Iterator[str]:
    """Two operands are written between two calls, then all, then some are, and others replaced."""
    names = changeable(limits)
    pairs = [*itertools.combinations(names, 2), names]
    for at, among in enumerate(pairs):
        yield from (f"write-0-{name}-{EXTENTS[at % 3]}-s{at}" for name in among)
        yield "again-0"
        yield from (f"write-0-{name}-all-s{at + 10}" for name in reversed(among[1:]))
        yield from (f"replace-0-{among[0]}-s{at + 10}", "again-0")


def _by_a_second_thread(limits: Limits, load: Steps, rows: int) -> Iterator[str]:
    """A layer that two threads call one after the other, and that is written, or dropped, before
    one or the other calls it again.
    """
    calls = ["again-0", f"again-0-{POOL}"]
    yield from (load[0], f"call-0-m{rows}", *calls)
    for at, name in enumerate(changeable(limits)):
        for change in (f"write-0-{name}-all-s{at}", f"write-0-{name}-word-s{at}"):
            yield from (change, *calls, *calls)
            calls.reverse()
        yield from (f"replace-0-{name}-s{at}", *calls, *calls)
    yield from (load[1], f"call-1-m{rows}-{POOL}", *calls, f"again-1-{POOL}", "again-1", "drop-0")
    yield from (load[2].replace("load-2", "load-0"), f"again-0-{POOL}", "again-1", "again-0")
    yield from (f"call-{number}-m{rows}-s{at}-{POOL}" for at in range(3) for number in (0, 1))
    if INFERENCE in limits.conditions:
        yield from (f"again-0-{INFERENCE}-{POOL}", "again-0", f"call-0-m{rows}-{INFERENCE}")
        yield from (f"again-0-{INFERENCE}-{POOL}", f"write-0-{changeable(limits)[0]}-all", *calls)


def _dropped_under_conditions(limits: Limits, layers: list[str], rows: int) -> Iterator[str]:
    """What is made at the end of a layer is made in the mode of whoever drops it."""
    plain = Case.parse(f"m{rows}-{layers[0]}", limits.tokens)
    taken = [name for name in AMBIENT if _prepared_under(limits, plain, name)]
    for at, name in enumerate(taken):
        if name != "grad":  # which is of a call
            yield from (f"load-0-{layers[at]}", f"call-0-m{rows}", f"drop-0-{name}")
            yield from (f"load-0-{layers[at + 1]}", f"call-0-m{rows}-s{at}", "again-0", "drop-0")


def _in_long_sums(limits: Limits, rows: tuple[int, ...]) -> Iterator[str]:
    """A layer of so many terms that a kernel cuts the sum, or keeps more of it: called with few
    rows and more, broken off, written.
    """
    layer = _of_size(limits, max(rows), 1, LONG_SUM)
    if limits.violations(layer):
        return
    load = f"load-0-{tokens(layer)}"
    for m, verb in zip(rows[:3], ("break", "interrupt", "break"), strict=False):
        yield from (load, f"call-0-m{m}")
        for at, place in enumerate((*BROKEN[1::2], *LATER)):
            yield from (f"{verb}-0-m{m}-{place}", f"call-0-m{m}-s{at}")
    for at, name in enumerate(changeable(limits)):
        for extent in ("word", "row"):
            yield from (f"write-0-{name}-{extent}-s{at}", "again-0")
    yield from ("x-s1", "again-0", *(f"call-0-m{m}" for m in rows), "again-0")


def _broken_at_first(limits: Limits, layer: str, verb: str, rows: int) -> Iterator[str]:
    """The first call of each new shape is broken off, as where a kernel is tuned for it."""
    plain = Case.parse(f"m{rows}-{layer}", limits.tokens)
    for at, place in enumerate((*BROKEN, *LATER)):
        case = plain.replace(n=plain.n * (2 + at))
        if not limits.violations(case):
            broken = f"{verb}-0-m{rows}-{place}"
            yield from (f"load-0-{tokens(case)}", broken, "again-0", f"call-0-m{rows}")
            # What was begun is of no use to a layer that was written since. The call before says
            # how many operators a first one makes
            others = [f"load-0-{tokens(case.replace(seed=at + more))}" for more in (1, 2)]
            yield from (others[0], f"call-0-m{rows}", others[1], broken)
            yield from (*(f"write-0-{name}-all-s{at}" for name in changeable(limits)), "again-0")


def _broken_under_conditions(limits: Limits, layers: list[str], rows: int) -> Iterator[str]:
    """What a kernel sets for the time of a call is put back by one that raises."""
    plain = Case.parse(f"m{rows}-{layers[0]}", limits.tokens)
    for number, condition in enumerate(AMBIENT):
        if _prepared_under(limits, plain, condition):
            yield from (f"load-0-{layers[number]}", f"call-0-m{rows}-{condition}")
            for place in (*BROKEN, *LATER):
                yield f"break-0-m{rows}-{place}-{condition}"
            yield f"again-0-{condition}"


def _inference_first(limits: Limits, load: Steps, rows: tuple[int, ...]) -> Iterator[str]:
    """A layer in inference mode, as where a server warms up, for few rows and more; then outside.

    What was kept there can be written there alone.
    """
    if INFERENCE in limits.conditions:
        for number, among in enumerate((sorted(rows), rows)):
            calls = [f"call-{number}-m{m}" for m in among]
            yield from (load[number], *(f"{call}-{INFERENCE}" for call in calls), *calls)
            yield from (f"write-{number}-scales-all", f"again-{number}-{INFERENCE}")
            yield from (f"again-{number}", *reversed(calls))


def _rewritten_in_inference(limits: Limits, load: Steps, rows: int) -> Iterator[str]:
    """One x made in inference mode, as the buffer of a decoding loop: torch counts no write."""
    if INFERENCE in limits.conditions:
        yield from (*load[:2], f"call-0-m{rows}-{INFERENCE}")
        for at in range(1, 5):
            yield from (f"x-s{at}", f"again-0-{INFERENCE}", f"again-{at % 2}-{INFERENCE}")
        yield from ("x-s5", "again-0", "again-1", "x-s6", f"again-1-{INFERENCE}", "again-0")


def _in_other_forms(limits: Limits, layer: str, rows: int) -> Iterator[str]:
    """A layer called with x of each other form, before and after the x that it has else."""
    plain = Case.parse(f"m{rows}-{layer}", limits.tokens)
    fill = "randn" if "randn" in limits.fills else plain.fill  # shows a dtype that is kept
    for at, form in enumerate(forms_of(limits, plain)):
        shown = plain.replace(fill=fill)
        is_shown = "dtype" in form and _is_taken(limits, shown, form)
        loaded = tokens(shown) if is_shown else layer
        call = _asked_as(f"call-0-m{1 if form.get('rank') == 1 else rows}", form)
        yield from (f"load-0-{loaded}", call, "again-0", f"call-0-m{rows}", f"{call}-s{at}")
    fills = [form["fill"] for form in forms_of(limits, plain) if set(form) == {"fill"}]
    if fills:
        yield f"load-0-{layer}"
        yield from (f"call-0-m{rows}-{name}" for name in (*fills, *reversed(fills)))


def forms_of(limits: Limits, plain: Case) -> list[dict]:
    """By field, what x may be other than in a case: in one way, then dtypes in others beside it."""
    axes = [BY_FIELD[name] for name in FORM]
    values = {
        axis.field: [
            axis.with_number(value, 3 if axis.field == "layout" else 1)
            for value in limits.of(axis)
            if axis.token(value) and str(value)[0] != "w"
        ]
        for axis in axes
    }
    single = [{name: value} for name in FORM for value in values[name]]
    rank = [{"rank": value} for value in values["rank"] if value > 2][:1]
    batched = [one | ranked for one in single if "layout" in one for ranked in rank]
    dtypes = [{"dtype": value} for value in values["dtype"] if value != plain.dtype]
    crossed = [dtypes[at % len(dtypes)] | one for at, one in enumerate(batched) if dtypes]
    return [form for form in single + batched + crossed if _is_taken(limits, plain, form)]


def _is_taken(limits: Limits, plain: Case, form: dict) -> bool:
    """Whether x may have this form, in which it differs."""
    rows = {"m": 1} if form.get("rank") == 1 else {}
    try:
        case = plain.replace(**form, **rows)
    except ValueError:  # which a clash says, or the fill
        return False
    has_bias_of_another = case.bias and case.dtype != plain.dtype
    return case != plain and not has_bias_of_another and not limits.violations(case)


def _asked_as(call: str, form: dict) -> str:
    """`call-0-m2-bf16-dim3`: with the words of an x of this form."""
    return "-".join([call, *(BY_FIELD[name].token(form[name]) for name in FORM if name in form)])


def _twins(way: str, load: str, call: str) -> Iterator[str]:
    """A layer and its copy, tensor by tensor, before and after either of them is written.

    Torch gives a copy version 1, and what was noted at the tensor: first of version 1 where that
    has another one now, then where both have it, and are written as often.
    """
    both, written = ("again-0", "again-1"), [f"write-0-{name}-all-s1" for name in OPERANDS[:3]]
    for again in ([f"write-0-{name}-all-s2" for name in OPERANDS[:3]], []):
        yield from (load, call, *written, "again-0", *again, f"twin-1-0-{way}", *reversed(both))
        yield from ("write-0-scales-all-s3", *both, "write-1-scales-all-s4", *both)
    yield from ("write-0-qweight-swap-s5", *reversed(both), f"twin-2-1-{way}", "drop-1")
    yield from ("again-2", "again-0", "write-2-scales-word-s6", "again-2", "drop-2")


def _threads_under_conditions(limits: Limits, layer: str, rows: int) -> Iterator[str]:
    """New threads under a condition, as where one of a pool makes its first call."""
    plain = Case.parse(f"m{rows}-{layer}", limits.tokens)
    taken = [name for name in AMBIENT if name != "grad" and _prepared_under(limits, plain, name)]
    if taken and "threads2" in limits.conditions:
        yield f"loads-2-{layer}"
        for at, name in enumerate(taken):  # written: a later thread may have an earlier's number
            yield from (f"threads-2-m{rows}-{name}", f"calls-2-m{rows}-{name}")
            yield f"write-1-scales-all-s{at}"


def _prepared_under(limits: Limits, layer: Case, condition: str) -> str:
    """What `load` takes; "" where the kernel does not promise it, or the layer cannot have it."""
    try:
        case = layer.replace(condition=condition)
    except ValueError:  # which does not go with its dtypes
        return ""
    return "" if limits.violations(case) else tokens(case)


def _large_of(limits: Limits) -> str:
    """A layer of LARGE columns and few rows; "" where the kernel takes no results of that size."""
    rows, columns = LARGE
    small = Case.parse(f"m1-{smallest_of(limits)}", limits.tokens)
    layer = tokens(small.replace(n=-(-columns // small.n) * small.n))
    large = Case.parse(f"m{rows}-{layer}", limits.tokens) if _is_free(limits) else small
    return layer if large.m == rows and not limits.violations(large) else ""


def _rounded(limits: Limits, rows: tuple[int, ...], one: int) -> Steps:
    """Calls again after larger and smaller ones, and those of another layer; none of a kernel that
    takes no random reals.
    """
    if "randn" not in limits.fills:
        return []
    dtype = "f32" if "f32" in limits.dtypes else limits.dtypes[0]  # rounds sums the least
    few = dict.fromkeys((one, *rows))
    layer = _of_size(limits, max(few), *ROUNDED, fill="randn", dtype=dtype)
    other = layer.replace(n=2 * layer.n, seed=1)
    if limits.violations(layer) or limits.violations(other):
        return []
    calls = [f"call-0-m{m}" for m in sorted(few)[:4]]
    larger, of_another = f"call-0-m{max(few)}", f"call-1-m{max(few)}"
    load = [f"load-{number}-{tokens(case)}" for number, case in enumerate((layer, other))]
    # The last of more layers than there are places of some kind, then with places for all
    last = f"call-{LAYERS - 1}-m{one}"
    of_many = [f"loads-{LAYERS}-{tokens(layer)}", f"calls-{LAYERS}-m{one}", last]
    fewer = [*(f"drop-{number}" for number in range(LAYERS - 1)), last]
    return [*load, *calls, larger, *calls, of_another, *calls, *reversed(calls), *of_many, *fewer]


def _of_size(limits: Limits, rows: int, columns: int, terms: int, **fields) -> Case:
    """A case of such a layer, or one a little larger; it may lie outside the limits."""
    plain = Case.parse(f"m{rows}-{tokens_of(limits)}", limits.tokens)
    n, k = (-(-size // unit) * unit for size, unit in ((columns, plain.n), (terms, plain.k)))
    return Case(**limits.fitted(vars(plain) | fields | {"n": n, "k": k}))


def _of_one_table(limits: Limits, rows: tuple[int, ...]) -> Iterator[str]:
    """One g_idx in order, of which layers of fewer rows have the first ones: shorter ones first."""
    if "seq" not in limits.g_idx:
        return
    plain = Case.parse(f"m{max(rows)}-{tokens_of(limits)}", limits.tokens).replace(g_idx="seq")
    longest = plain.replace(k=4 * plain.k)
    parts = [plain.replace(k=times * plain.k) for times in (1, 2, 3)]
    if any(limits.violations(case) for case in (longest, *parts)):
        return
    yield f"load-0-{tokens(longest)}"
    yield from (f"share-{at}-0-g_idx-k{case.k}" for at, case in enumerate(parts, 1))
    for m in rows[:2]:
        yield from (f"call-{at}-m{m}" for at in (1, 3, 2, 0, 1, 2, 3))


def _by_threads(limits: Limits, rows: int) -> Steps:
    """Two threads call more layers at once than what is kept of a few holds, then large ones."""
    steps = []
    for *sizes, count in OF_THREADS if "threads2" in limits.conditions else ():
        layer = _of_size(limits, rows, *sizes)
        if not limits.violations(layer):
            steps += [f"loads-{count}-{tokens(layer)}", f"threads-{count}-m{rows}"]
    return steps


def _is_free(limits: Limits) -> bool:
    """Whether the layers of these histories take other than one row."""
    return 2 in limits.ranks or limits.ranks[0] > 2


def _loaded_over(layers: list[str], rows: int) -> Steps:
    """Another layer where one was dropped, and the one beside it again."""
    return [f"load-2-{layers[2]}", f"call-2-m{rows}", "again-1", f"call-1-m{rows}", "again-2"]


def _each(steps: Iterable[str], then: Steps) -> Steps:
    return [step for one in steps for step in (one, *then)]


def changeable(limits: Limits) -> list[str]:
    """The operands that can be rewritten within the limits."""
    has_order = "act" in limits.g_idx
    return [name for name in OPERANDS if name != "g_idx" or has_order]


def shareable(limits: Limits) -> list[str]:
    """The operands that several layers may have: what describes codes of weights."""
    has_order = limits.g_idx != ("none",)
    return [name for name in OPERANDS[1:] if name != "g_idx" or has_order]


def _is_bare(limits: Limits) -> bool:
    """Whether rows of x may be tensors with nothing around them."""
    plain = Case.parse(f"m1-{smallest_of(limits)}", limits.tokens)
    return not plain.layout and not plain.start


# The names; a kernel that promises less has some of them
FORMS = tuple(canned(Limits(backward=True, bias=True, out=True)))


@st.composite
def histories(draw, limits: Limits) -> Steps:
    """A list of steps within the limits: a few layers, then anything that can follow."""
    with own_time("drawing a history", limits):
        return _History(draw, limits).drawn()


class _History:
    """Steps drawn one after another, each of which can follow those before it."""

    def __init__(self, draw, limits: Limits):
        self.draw, self.limits = draw, limits
        self.layers: dict[int, Case] = {}
        self.freed: set[int] = set()
        self.x: Case | None = None
        self.steps: Steps = []
        plain = Case.parse(f"m{max(1, limits.m_least)}-{tokens_of(limits)}", limits.tokens)
        self.conditions = [name for name in AMBIENT if _prepared_under(limits, plain, name)]
        self.kinds_of_layers = (
            ["", PARAMETERS] if _prepared_under(limits, plain, PARAMETERS) else [""]
        )
        self.forms = forms_of(limits, plain)
        # What a kernel keeps of inference mode meets no gradient: a history has one of both
        infers = INFERENCE in self.conditions and draw(st.booleans())
        lacking = ("grad",) if infers else (INFERENCE,)
        self.conditions = [name for name in self.conditions if name not in lacking]
        self.of_operands = ["share", "twin"] + ["refuse"] * bool(limits.bad)
        self.of_operands += ["grad"] * (limits.backward and not infers)
        self.others = ["track"] * (not infers) + ["decode", "feed"] * _is_bare(limits)
        self.others += ["stop"]
        self.others += ["threads"] * ("threads2" in limits.conditions and draw(st.booleans()))

    def drawn(self) -> Steps:
        self._load()
        for _ in range(self.draw(st.integers(2, 20))):
            choices = ["call", "load", "copy", "break", "interrupt"]
            choices += ["again", "again", "call"] * (self.x is not None)
            choices += ["x", "part"] * (self.x is not None)
            choices += self.others
            choices += ["drop", "leave"] * (len(self.layers) > 1)
            if self._there():
                choices += ["write", "write", "replace", "renew", "move", "free", *self.of_operands]
            getattr(self, f"_{self.draw(st.sampled_from(choices))}")()
        if self.x is not None:
            self._again()
        return self.steps

    def _say(self, *words) -> None:
        self.steps.append("-".join(str(word) for word in words if word != ""))

    def _layer(self) -> int:
        return self.draw(st.sampled_from(sorted(self.layers)))

    def _there(self) -> list[int]:
        """The layers whose operands are there."""
        return sorted(set(self.layers) - self.freed)

    def _layer_there(self) -> int:
        return self.draw(st.sampled_from(self._there()))

    def _put(self, number: int, case: Case) -> None:
        self.layers[number] = case
        self.freed.discard(number)

    def _seed(self) -> str:
        return f"s{self.draw(st.integers(0, 99))}"

    def _condition(self) -> str:
        """Rarely one that the steps around it do not have."""
        return self.draw(st.sampled_from(("",) * 3 * len(AMBIENT) + tuple(self.conditions)))

    def _conditions(self) -> tuple[str, ...]:
        """Rarely one or two; two that go together."""
        first = self._condition()
        if not first or self.draw(st.booleans()):
            return (first,) * bool(first)
        is_default = first in DEFAULTS
        others = [
            name
            for name in self.conditions
            if name != first and not (is_default and name in DEFAULTS)
        ]
        return (first, self.draw(st.sampled_from(others))) if others else (first,)

    def _asked(self, layer: Case) -> tuple[Case, list[str]]:
        """Rows of x for a layer, now and then in another form, and the words of it."""
        form = self.draw(st.sampled_from([{}, {}, {}, *self.forms])) if self.forms else {}
        if self.draw(st.booleans()) or not _is_taken(self.limits, layer, form):
            form = {}
        rows = "m1" if form.get("rank") == 1 else self._rows()
        words = _asked_as(rows, form).split("-")
        return layer.replace(m=int(rows[1:]), **form), words

    def _rows(self) -> str:
        many = (1, 2, 3, 8, 17) if self.limits.ranks[0] != 1 else (1,)
        return f"m{max(self.draw(st.sampled_from(many)), self.limits.m_least)}"

    def _load(self) -> None:
        number = self.draw(st.integers(0, 3))
        scale, seed_of = self.draw(st.sampled_from((1, 1, 2))), self.draw(st.integers(0, 99))
        rows = max(1, self.limits.m_least)
        base = Case.parse(f"m{rows}-{tokens_of(self.limits, seed_of, scale)}", self.limits.tokens)
        kinds_of_order = [kind for kind in self.limits.g_idx if kind != "none"]
        orders = kinds_of_order or self.limits.g_idx
        case = base.replace(
            g_idx=self.draw(st.sampled_from(orders)),
            zeros=self.draw(st.sampled_from(self.limits.zeros)),
            out=self.limits.out and self.draw(st.booleans()),
        )
        self._put(number, case)
        condition = self._condition() or self.draw(st.sampled_from(self.kinds_of_layers))
        self._say("load", number, tokens(case.replace(condition=condition)))

    def _copy(self) -> None:
        source, number = self._layer(), self.draw(st.integers(0, 3))
        if number != source:
            self._put(number, self.layers[source])
            self._say("copy", number, source)

    def _share(self) -> None:
        source, number = self._layer_there(), self.draw(st.integers(0, 3))
        has_order = self.layers[source].g_idx != "none"
        operand = self.draw(st.sampled_from(shareable(self.limits)))
        if number != source and (operand != "g_idx" or has_order):
            case, words = self.layers[source], []
            if operand == "g_idx":
                case, words = self._other_than(case)
            self._put(number, case)
            self._say("share", number, source, operand, *words, self._seed())

    def _other_than(self, case: Case) -> tuple[Case, list[str]]:
        """A layer of other bits or columns with the same g_idx, and its words; or the same."""
        bits = [{"bits": at} for at in self.limits.bits[:MOST_ALIKE]]
        others = [one for one in (*bits, {"n": 2 * case.n}) if _is_taken(self.limits, case, one)]
        other = self.draw(st.sampled_from([{}, *others]))
        return case.replace(**other), [f"{name[0]}{value}" for name, value in other.items()]

    def _twin(self) -> None:
        source, number = self._layer_there(), self.draw(st.integers(0, 3))
        if number != source:
            self._put(number, self.layers[source])
            self._say("twin", number, source, self.draw(st.sampled_from(WAYS)))

    def _stop(self) -> None:
        self._say("stop", self._layer(), f"op{self.draw(st.integers(1, 16))}", self._seed())

    def _free(self) -> None:
        layer = self._layer_there()
        self.freed.add(layer)
        self._say("free", layer)

    def _decode(self) -> None:
        self._say("decode", self._layer(), self._seed(), "x20")

    def _grad(self) -> None:
        layer = self._layer_there()
        self._say("grad", layer, self._rows(), self._seed())

    def _feed(self) -> None:
        pairs = [(b, a) for b in self.layers for a in self.layers if self._follows(b, a)]
        if pairs:
            pair = self.draw(st.sampled_from(sorted(pairs)))
            change, rows = self.draw(st.sampled_from(CHANGES)), self._rows()
            self.x = self.layers[pair[0]].replace(m=int(rows[1:]))
            self._say("feed", *pair, rows, self._seed(), change)

    def _follows(self, layer: int, source: int) -> bool:
        """Whether a result of the source is an x of the layer."""
        return self.layers[source].n == self.layers[layer].k

    def _track(self) -> None:
        layer = self._layer()
        self.x, words = self._asked(self.layers[layer])
        self._say("track", layer, *words, self._seed())

    def _call(self) -> None:
        layer = self._layer()
        x, words = self._asked(self.layers[layer])
        self.x, conditions = x, self._taken(x, self._conditions())
        times = self.draw(st.sampled_from(("",) * 9 + ("x20",)))
        self._say("call", layer, *words, self._seed(), *conditions, self._by(), times)

    def _by(self) -> str:
        """Rarely the second thread."""
        is_taken = "threads2" in self.limits.conditions
        return self.draw(st.sampled_from(("",) * 5 + (POOL,))) if is_taken else ""

    def _taken(self, x: Case, conditions: tuple[str, ...]) -> list[str]:
        """Those of the conditions that a call with this x may have."""
        return [name for name in conditions if _prepared_under(self.limits, x, name)]

    def _again(self) -> None:
        """The same x to any layer that takes it."""
        takes = [at for at, case in sorted(self.layers.items()) if case.k == self.x.k]
        if takes:
            times = self.draw(st.sampled_from(("",) * 9 + ("x20",)))
            conditions = self._taken(self.x, self._conditions())
            layer = self.draw(st.sampled_from(takes))
            self._say("again", layer, *conditions, self._by(), times)

    def _threads(self) -> None:
        """All layers from 0 on that take one x."""
        count = 0
        while count in self.layers and self.layers[count].k == self.layers[0].k:
            count += 1
        if count:
            conditions = [name for name in self._conditions() if name != "grad"]
            x, words = self._asked(self.layers[count - 1])
            conditions = self._taken(x, conditions)
            self.x = x
            self._say("threads", count, *words, *conditions)

    def _part(self) -> None:
        """Some parts of the last x, to any layers that take it."""
        takes = [at for at, case in sorted(self.layers.items()) if case.k == self.x.k]
        parts = parts_of(self.limits, self.x)
        for _ in range(self.draw(st.integers(1, 4)) if takes and parts else 0):
            layer, part = self.draw(st.sampled_from(takes)), self.draw(st.sampled_from(parts))
            self._say("part", layer, part)

    def _x(self) -> None:
        self._say("x", self._seed())

    def _write(self) -> None:
        layer, operand = self._operand()
        extent = self.draw(st.sampled_from(EXTENTS))
        self._say("write", layer, operand, extent, self._seed())

    def _replace(self) -> None:
        self._say("replace", *self._operand(), self._seed())

    def _renew(self) -> None:
        self._say("renew", *self._operand(), self._seed())

    def _move(self) -> None:
        layer = self._layer_there()
        is_absent = self.layers[layer].g_idx == "none"
        names = [name for name in OPERANDS if name != "g_idx" or not is_absent]
        self._say("move", layer, self.draw(st.sampled_from((ALL, *names))))

    def _operand(self) -> tuple[int, str]:
        layer = self._layer_there()
        is_fixed = self.layers[layer].g_idx not in REORDERED
        names = [n for n in changeable(self.limits) if n != "g_idx" or not is_fixed]
        return layer, self.draw(st.sampled_from(names))

    def _drop(self) -> None:
        layer = self._dropped()
        conditions = [name for name in self._conditions() if name != "grad"]
        self._say("drop", layer, *conditions)

    def _leave(self) -> None:
        self._say("leave", self._dropped(), self._place())

    def _dropped(self) -> int:
        layer = self._layer()
        del self.layers[layer]
        self.freed.discard(layer)
        return layer

    def _refuse(self) -> None:
        bad, layer = self.draw(st.sampled_from(self.limits.bad)), self._layer_there()
        may_be_own = bad in OF_NUMBERS and self.layers[layer].g_idx != "none"
        own = OWN if may_be_own and self.draw(st.booleans()) else ""
        self._say("refuse", layer, f"bad{bad}", own)

    def _broken_off(self, verb: str, thread: str = "") -> None:
        layer = self._layer()
        self.x, words = self._asked(self.layers[layer])
        conditions = [] if thread else self._taken(self.x, self._conditions())
        self._say(verb, layer, *words, self._place(), thread, *conditions)

    def _place(self) -> str:
        """An operator; one of those before the end, where a call says how many there are."""
        at = self.draw(st.integers(1, 8))
        is_counted = any(step.split("-")[0] in WHOLE for step in self.steps)
        places = ["op{}"] + ["op{}of8", "last{}"] * is_counted
        return self.draw(st.sampled_from(places)).format(at)

    def _break(self) -> None:
        self._broken_off("break", self.draw(st.sampled_from(("", "", THREAD))))

    def _interrupt(self) -> None:
        self._broken_off("interrupt", self.draw(st.sampled_from(("", "", THREAD))))


def must_pass_canned(kernel: KernelUnderTest, name: str, ends: float = math.inf) -> None:
    """Ask a canned history, as far as its share of the time reaches. Raises Failure.

    No step begins after `ends`, as time.monotonic() has it.
    """
    share = _seconds(kernel) * (FORMS.index(name) + 1) / len(FORMS)
    left = min(max(share - _tally(kernel).seconds, 0.1), ends - time.monotonic())
    steps = canned(kernel.limits)[name]
    if name not in (SAME_BITS, INFERENCE_FIRST):
        must_pass_history(kernel, steps, left)
    elif name != SAME_BITS or kernel.worker.description["deterministic"]:
        must_pass_alone(kernel, steps, left)


def must_pass_alone(kernel: KernelUnderTest, steps: Steps, seconds: float) -> None:
    """Judge one history where nothing was called before. Raises Failure."""
    if kernel.in_process:
        return must_pass_history(kernel, steps, seconds)
    worker = Worker(replace(kernel.launch, in_flight=kernel.new_in_flight()))
    try:
        return must_pass_history(kernel, steps, seconds, worker)
    finally:
        worker.stop()


def _seconds(kernel: KernelUnderTest) -> float:
    is_host = kernel.worker.description["place"] == "cpu"
    return SECONDS[kernel.is_slow] if is_host else ON_A_GPU


def must_pass_drawn(kernel: KernelUnderTest, examples: int, at: int) -> None:
    """Ask histories drawn from a seed, as long as there is time. Raises Failure."""
    ends = time.monotonic() + _seconds(kernel) * DRAWN * examples
    for steps in _drawn(kernel.limits, examples, at):
        if (left := ends - time.monotonic()) > 0:
            must_pass_history(kernel, steps, left)
        else:
            tally = _tally(kernel)
            tally.planned += len(steps)
            tally.left_out["no time"] += len(steps)


def _drawn(limits: Limits, examples: int, at: int) -> list[Steps]:
    drawn: list[Steps] = []

    @seed(at)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(histories(limits))
    def collect(steps):
        drawn.append(steps)

    collect()
    return drawn


def _tally(kernel: KernelUnderTest) -> Tally:
    return kernel.tallies.setdefault(SERIES, Tally(0))


def must_pass_history(
    kernel: KernelUnderTest, steps: Steps, seconds: float = math.inf, worker=None
) -> None:
    """Judge one history. Raises Failure with the shortest one that fails in a new process."""
    verdict, reached = judge_history(kernel, steps, seconds, worker)
    if not verdict.ok:
        report_history(kernel, steps[:reached], verdict)
    if verdict.kind != kinds.SKIPPED:
        kernel.histories.append(steps[:reached])


def judge_history(
    kernel: KernelUnderTest, steps: Steps, seconds: float = math.inf, worker=None
) -> tuple[Verdict, int]:
    """The verdict on one history, counted, and how many of its steps were begun."""
    worker = worker or kernel.worker
    verdict = worker.ask_steps(parse_history(BETWEEN.join(steps), kernel.limits), seconds)
    reached = worker.reached + 1
    with kernel.lock:
        verdict = waive(kernel.waivers, kernel.spec, verdict.case, verdict)
        tally = _tally(kernel)
        kernel.coverage.count(verdict)
        tally.planned += len(steps)
        tally.seconds += verdict.seconds
        if verdict.kind == kinds.SKIPPED:
            tally.left_out[verdict.message] += len(steps)
            return verdict, 0
        tally.judged += reached
        if reached < len(steps):
            tally.left_out["no time" if verdict.ok else "a finding"] += len(steps) - reached
        kernel.note(verdict)
    return verdict, reached


def endless(limits: Limits, at: int) -> Iterator[Steps]:
    """The canned histories, then ever new drawn ones; `at` is the seed of the first."""
    yield from canned(limits).values()
    for number in itertools.count(at):
        yield from _drawn(limits, OF_A_SEED, number)[1:]  # the first is the simplest, of any seed


def must_pass_steps(kernel: KernelUnderTest, line: str) -> None:
    """Judge the history of --steps. Raises Failure, with the same line."""
    verdict = _ask(kernel, parse_history(line, kernel.limits))
    kernel.coverage.count(verdict)
    kernel.note(verdict)
    if not verdict.ok:
        keep(kernel, verdict, "--steps", line)


def _ask(kernel: KernelUnderTest, steps: list[Step], seconds: float = math.inf) -> Verdict:
    verdict = kernel.worker.ask_steps(steps, seconds)
    return waive(kernel.waivers, kernel.spec, verdict.case, verdict)


def report_history(kernel: KernelUnderTest, steps: Steps, found: Verdict) -> None:
    """Keep the shortest history that fails in a new process, twice. Raises Failure."""
    ends = time.monotonic() + SHORTEN_SECONDS
    fails = Failing(kernel)
    short = shortened(steps, fails.here, time.monotonic() + IN_PLACE * SHORTEN_SECONDS)
    earlier = [step for history in kernel.histories for step in history]
    for tried in (short, steps, earlier + steps):
        if fails.alone(tried):
            break
    else:
        found.message += f"; not in a new process; the steps were {BETWEEN.join(steps)}"
        keep(kernel, found)
    keep_shortest(kernel, fails, tried, ends)


def keep_shortest(kernel: KernelUnderTest, fails: Failing, steps: Steps, ends: float) -> None:
    """Keep the shortest of steps that fail in a new process; none is tried after `ends`. Raises
    Failure.
    """
    least = shortened(steps, fails.alone, ends)
    verdict = fails.verdicts[tuple(least)]
    if not fails.alone(least):
        verdict.message += "; in one new process, not in another"
        verdict.kind, verdict.wrong_runs, verdict.runs = kinds.NONDETERMINISTIC, 1, 2
        keep(kernel, verdict)
    keep(kernel, verdict, "--steps", BETWEEN.join(least))


class Failing:
    """Whether steps fail: in the worker as it is, or alone in a new one."""

    def __init__(self, kernel: KernelUnderTest):
        self.kernel = kernel
        self.verdicts: dict[tuple[str, ...], Verdict] = {}  # of steps that failed, the last one

    def here(self, steps: Steps) -> bool:
        try:
            parsed = parse_history(BETWEEN.join(steps), self.kernel.limits)
        except ValueError:  # they do not follow one another
            return False
        verdict = _ask(self.kernel, parsed)
        if not verdict.ok:
            self.verdicts[tuple(steps)] = verdict
        return not verdict.ok

    def alone(self, steps: Steps) -> bool:
        self.kernel.worker.stop()
        return self.here(steps)


def shortened(steps: Steps, fails: Callable[[Steps], bool], ends: float) -> Steps:
    """The shortest list that deleting, then simplifying steps one by one leads to.

    `fails` says whether a list still does; nothing is tried after `ends`.
    """
    size = len(steps) // 2
    while size:
        start = len(steps) - size
        while start >= 0:
            fewer = steps[:start] + steps[start + size :]
            if fewer and _in_time(ends) and fails(fewer):
                steps = fewer
            start -= size
        size //= 2
    for place in range(len(steps)):
        for simple in _simpler(steps[place]):
            plain = [*steps[:place], simple, *steps[place + 1 :]]
            if _in_time(ends) and fails(plain):
                steps = plain
                break
    return steps


def _in_time(ends: float) -> bool:
    return time.monotonic() < ends


def _simpler(step: str) -> Iterable[str]:
    """The same step with fewer calls, one row and no seed, as far as these are words of it."""
    verb, *words = step.split("-")
    if verb == "load":
        if words[-1] in (*AMBIENT, PARAMETERS):
            yield "-".join([verb, *words[:-1]])
        return
    plain = [word for word in words if not (word[0] == "s" and word[1:].isdigit() and verb != "x")]
    one = ["m1" if word[0] == "m" and word[1:].isdigit() else word for word in plain]
    bare = [word for word in one if not _says_how(word)]
    for fewer in (bare, one, plain):
        if fewer != words:
            yield "-".join([verb, *fewer])
    if len(bare) < len(one):
        for at, word in enumerate(words):
            if _says_how(word):
                yield "-".join([verb, *words[:at], *words[at + 1 :]])
    if words[-1][0] == "x" and words[-1][1:].isdigit():
        times = int(words[-1][1:])
        for less in (1, 2, 3, 10, 30, 100, 300, 1000):
            if less < times:
                yield "-".join([verb, *words[:-1], *[f"x{less}"] * (less > 1)])


def _says_how(word: str) -> bool:
    """Whether a word says in what form x comes, or under what condition."""
    return word in AMBIENT or any(re.fullmatch(BY_FIELD[name].pattern, word) for name in FORM)

"""Metamorphic relations: other ways to ask for the same numbers.

Each returns a Mismatch against the intervals of the problem itself, which is at least as strict as
comparing two outputs within the sum of their bounds, and bit for bit where fills leave no error.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch

from gptq_fuzz.case import verdict as kinds
from gptq_fuzz.case.axes import FILLS_OF, SHARED, WHOLE_GROUP
from gptq_fuzz.case.case import Case, decoy_of
from gptq_fuzz.oracle.conditions.parts import answer, loaded
from gptq_fuzz.oracle.judge import Expected
from gptq_fuzz.oracle.panel import ExpectedPanel
from gptq_fuzz.problem.layouts import leading_shape
from gptq_fuzz.problem.operands import Operands


@dataclass(frozen=True)
class Relation:
    """`applies(examination)` says whether it can be asked; `run(examination)` gives a Mismatch."""

    applies: Callable
    run: Callable
    kind: str = kinds.WRONG


BATCHES = (5, 12, 24, 40, 56, 96)  # rows: one from 2, 9, 17, 33, 49, 65 on, before 129
ROWS_ALONE = {"rank": 2, "layout": ""}
ANY_X = ("exact", "sparse", "randn")  # fills whose bounds hold for other values of x
MOST_READ = 96  # rows of K of a layer that is read by an identity
NUDGE = 2.0**-9  # what is small of x, beside its largest element
TURNED_X = "xt"  # the layout of a transposed x
PLAIN = {"layout": "", "strided": (), "start": 0, "rank": 2}
LAYER = {
    "qweight": "w",
    "qzeros": "z",
    "scales": "s",
    "g_idx": "g",
    "bias": "",
    "fractions": "",
}


def _variant(exam, values=None, **changes) -> Operands:
    """Another problem of other values, in tensors of its own."""
    exam.asked = case = exam.case.replace(**changes)
    return Operands(case, exam.device, values=values or exam.operands.values, zones=exam.zones)


def _same_layer(exam, values=None, without=(), **changes) -> Operands:
    """Another question to the same layer: its very tensors, so that what a kernel remembers of
    them, and should not, shows. Those named, and those stored another way, are built anew."""
    exam.asked = case = exam.case.replace(**changes)
    moved = {token[0] for token in set(exam.case.strided) ^ set(case.strided)}
    moved |= set(LAYER.values()) if case.start != exam.case.start else set()
    kept = exam.operands.guarded.items()
    shared = {
        name: guarded
        for name, guarded in kept
        if name in LAYER and LAYER[name] not in moved and name not in without
    }
    values = exam.operands.values if values is None else values
    return Operands(case, exam.device, values=values, zones=exam.zones, shared=shared)


def _allows(exam, **changes) -> bool:
    """Whether the case, so changed, lies no further outside of what may be asked than it does."""
    asked, outside = exam.case.replace(**changes), exam.limits.violations
    return set(outside(asked)) <= set(outside(exam.case))


def _has_rows_alone(exam) -> bool:
    return exam.case.m > 1 and _allows(exam, m=1, **ROWS_ALONE)


def _row_alone(exam):
    """A row of a batch and the row alone: the last one, where tails and dispatch go wrong. Then the
    first rows, so many as each kernel that engines choose by M is for.
    """
    values, m = exam.operands.values, exam.case.m
    for rows in (slice(m - 1, m), *(slice(0, size) for size in BATCHES if size < m)):
        part = replace(values, left=values.left[rows])
        operands = _same_layer(exam, part, m=len(part.left), **ROWS_ALONE)
        found = exam.expected.check(exam.call(operands), rows=rows)
        if found.count:
            break
    return found


def _has_strides(exam) -> bool:
    case = exam.case
    return bool(case.layout or case.strided or case.start or case.rank != 2)


def _is_contiguous(exam) -> bool:
    return exam.case.rank == 2 and not exam.case.layout


def _contiguous(exam):
    """Operands that are strided or begin anywhere, and contiguous ones as torch allocates them."""
    plain = _same_layer(exam, **PLAIN)
    return exam.expected.check(exam.call(plain))


def _strided(exam):
    """Contiguous x and x as a slice of a wider tensor."""
    return exam.expected.check(exam.call(_same_layer(exam, layout="pad3")))


def _has_batches(exam) -> bool:
    return exam.case.rank > 2 and not exam.case.layout and bool(_other_leading(exam.case))


def _other_leading(case: Case) -> list[tuple[int, ...]]:
    """Other dimensions before the last of as many rows: a few batches, one, those of one row."""
    usual, m = leading_shape(case.m, case.rank), case.m
    pairs = [(m // size, size) for size in (3, 2, 1, m) if m and m % size == 0]
    wider = [(*pair[:1], *(1,) * (case.rank - 3), *pair[1:]) for pair in pairs]
    wider += [(*pair, 1) for pair in pairs] if case.rank == 4 else []
    return [shape for shape in dict.fromkeys(wider) if shape != usual]


def _rows_regrouped(exam):
    """The same rows of a layer that is loaded once as other batches: as many in all."""
    multiply = loaded(exam, exam.operands)
    found = exam.expected.check(answer(exam, multiply, exam.operands))
    for leading in _other_leading(exam.case):
        if found.count:
            break
        operands = _same_layer(exam)
        x = operands.guarded["left"]
        x.view = x.view.view(*leading, exam.case.reduction)
        operands.out_shape = (*leading, exam.case.columns)
        found = exam.expected.check(answer(exam, multiply, operands))
    return found


def _all_zeros(exam):
    """An x of zeros, as servers warm up with and pad."""
    return _answered_twice(exam, torch.zeros_like(exam.operands.values.left))


def _identity(exam):
    """x by which tools read the weight of a layer: the answer is what a kernel may have kept."""
    k = exam.case.k
    left = torch.eye(k, dtype=torch.float64, device=exam.operands.values.left.device)
    return _answered_twice(exam, left, m=k, **ROWS_ALONE)


def _can_be_read(exam) -> bool:
    case = exam.case
    changes = {"m": case.k, **ROWS_ALONE}
    may = not case.backward and not case.out and case.k <= MOST_READ and case.fill in ANY_X
    return may and _allows(exam, **changes)


def _answered_twice(exam, left: torch.Tensor, **changes):
    """These rows of x twice, of which the first result is written in between, as its caller may;
    then x as it is.
    """
    operands = _same_layer(exam, replace(exam.operands.values, left=left), **changes)
    multiply, expected = loaded(exam, operands), exam.expectation(operands)
    out = answer(exam, multiply, operands)
    found = expected.check(out)
    if not found.count:
        with torch.inference_mode(out.is_inference()), contextlib.suppress(RuntimeError):
            out.fill_(1)  # one with a stride of 0 cannot be written
        found = expected.check(answer(exam, multiply, operands))
    return found if found.count else exam.expected.check(answer(exam, multiply, exam.operands))


def _can_be_unnamed(exam) -> bool:
    case, backend = exam.case, exam.backend
    return not (case.backward or case.out or case.extra) and bool(backend.plain or backend.run)


def _unnamed(exam):
    """An x to which nothing but the call refers, written out as programs write it: whose memory it
    is, a view of what goes on living, does not show by that.
    """
    operands, backend, layer = exam.operands, exam.backend, exam.operands.weights()

    def plain():
        return backend.plain(
            x=operands.left[...],
            qweight=layer["qweight"],
            qzeros=layer["qzeros"],
            scales=layer["scales"],
            g_idx=layer["g_idx"],
            bits=layer["bits"],
        )

    def prepared():
        return backend.run(backend.prepare(**layer), x=operands.left[...])

    return exam.expected.check(exam.call(operands, plain if backend.plain else prepared))


def _can_be_alone(exam) -> bool:
    case = exam.case
    is_free = case.layout not in SHARED and case.layout_kind not in FILLS_OF
    return is_free and case.m > 0 and not case.start and not case.backward


def _alone_in_memory(exam):
    """An x that is all of its memory, as it comes from an operator; transposed so, too, for a layer
    of the same numbers.
    """
    turned = {"layout": TURNED_X, "rank": 2}
    for changes in [{}] + [turned] * _allows(exam, **turned):
        operands = _variant(exam, **changes)
        x = operands.guarded["left"]
        like = {"dtype": x.view.dtype, "device": x.view.device}
        x.view = torch.empty_strided(x.view.shape, x.view.stride(), **like).copy_(x.view)
        found = exam.expected.check(exam.call(operands))
        if found.count:
            break
    return found


def _can_be_nudged(exam) -> bool:
    case = exam.case
    is_free = case.layout not in SHARED and case.layout_kind not in FILLS_OF
    return is_free and case.m > 0 and case.reduction > 1 and case.fill in ANY_X


def _nudged(exam):
    """An x with one massive element a row, then one that hardly differs beside it, as the steps of
    a diffusion do: each has its own result.
    """
    values = exam.operands.values
    for sign in (1, -1):
        left = values.left * (sign * NUDGE)
        left[:, 0] = values.left.abs().max()
        operands = _same_layer(exam, replace(values, left=left))
        found = exam.expectation(operands).check(exam.call(operands))
        if found.count:
            break
    return found


def _rows_permuted(exam):
    """K reversed in x, qweight and g_idx together."""
    values = exam.operands.values
    flipped = replace(values, codes=values.codes.flip(0), g_idx=values.g_idx.flip(0))
    g_idx = "act"  # the kind does not matter: the values are given
    if exam.case.backward:
        out = exam.call(_variant(exam, flipped, g_idx=g_idx))
        return exam.expected.check(out.flip(1))
    flipped.left = values.left.flip(1)
    return exam.expected.check(exam.call(_variant(exam, flipped, g_idx=g_idx)))


def _columns_split(exam):
    """The left and the right half of the columns, joined."""
    half = exam.case.n // exam.case.unit // 2 * exam.case.unit
    halves, asked = [], []
    for part in (slice(0, half), slice(half, exam.case.n)):
        halves.append(exam.expected.check(_columns(exam, part), columns=part))
        asked.append(exam.asked)
    left, right = halves
    exam.asked = asked[0] if left.count else asked[1]
    return left.beside(right)


def _columns(exam, chosen: slice) -> torch.Tensor:
    values = exam.operands.values
    part = replace(
        values,
        codes=values.codes[:, chosen],
        zeros=values.zeros[:, chosen],
        scales=values.scales[:, chosen],
        fractions=None if values.fractions is None else values.fractions[:, chosen],
        bias=None if values.bias is None else values.bias[chosen],
    )
    return exam.call(_variant(exam, part, n=chosen.stop - chosen.start))


def _halved(exam):
    """x times 1/2 gives out times 1/2: no value of these fills is near a subnormal."""
    values = exam.operands.values
    out = exam.call(_same_layer(exam, replace(values, left=values.left / 2)))
    return exam.expected.check(out.double() * 2)


def _other_format(exam):
    """The same zero-points stored the v1 and the v2 way."""
    other = {"v1": "v2", "v2": "v1"}[exam.case.checkpoint_format]
    operands = _same_layer(exam, without=("qzeros",), checkpoint_format=other)
    return exam.expected.check(exam.call(operands))


def _group_named(exam):
    """One group over all rows, given as -1 and as K."""
    size = exam.case.k if exam.case.group_size == WHOLE_GROUP else WHOLE_GROUP
    return exam.expected.check(exam.call(_same_layer(exam, group_size=size)))


def _other_config(exam):
    """Another path or launch config of the kernel."""
    choice = zlib.crc32(str(exam.case).encode())
    extra = []
    for token in exam.limits.tokens:
        choice, place = divmod(choice, len(token.values))
        extra.append((token.name, token.values[place]))
    return exam.expected.check(exam.call(_same_layer(exam, extra=tuple(extra))))


def _reloaded(exam):
    """Other weights written into the same tensors, as loading a checkpoint does; then back."""
    other = Operands(decoy_of(exam.case), exam.device, zones=exam.zones)
    exam.call(exam.operands)
    with rewritten(exam, other) as expected:
        return expected.check(exam.call(exam.operands))


@contextlib.contextmanager
def rewritten(exam, other: Operands) -> Iterator[Expected | ExpectedPanel]:
    """The layer of an examination while another's weights are written in it, all but the bias; what
    is due from it then.
    """
    own = exam.operands.values
    other.values = replace(other.values, left=own.left, bias=own.bias)
    expected = exam.expectation(other)
    mine, theirs = exam.operands.guarded, other.guarded
    names = [name for name in LAYER if name != "bias" and name in mine]
    before = {name: mine[name].original.clone() for name in names}
    try:
        for name in names:
            mine[name].write(theirs[name].original)
        yield expected
    finally:
        for name in names:
            mine[name].write(before[name])


def _can_halve(exam) -> bool:
    return exam.case.fill in ("exact", "sparse", "cancel") and not exam.case.bias


def _can_split(exam) -> bool:
    case, multiple = exam.case, exam.limits.n_multiple
    return not case.backward and case.n >= 2 * case.unit and case.unit % multiple == 0


def _can_permute(exam) -> bool:
    # Of windows turned round no line is left that they are windows of
    is_free = exam.case.backward or exam.case.layout_kind not in FILLS_OF
    return is_free and "act" in exam.limits.g_idx


def _is_one_group(exam) -> bool:
    sizes = exam.limits.group_sizes
    return exam.case.rows_per_group == exam.case.k and sizes is None


RELATIONS = {
    "row alone": Relation(_has_rows_alone, _row_alone),
    "contiguous": Relation(lambda exam: _has_strides(exam) and _allows(exam, **PLAIN), _contiguous),
    "strided": Relation(
        lambda exam: _is_contiguous(exam) and _allows(exam, layout="pad3"), _strided
    ),
    "rows regrouped": Relation(_has_batches, _rows_regrouped),
    "all zeros": Relation(lambda exam: exam.case.m > 0 and exam.case.fill in ANY_X, _all_zeros),
    "identity": Relation(_can_be_read, _identity),
    "unnamed": Relation(_can_be_unnamed, _unnamed),
    "alone in memory": Relation(_can_be_alone, _alone_in_memory),
    "nudged": Relation(_can_be_nudged, _nudged),
    "rows permuted": Relation(_can_permute, _rows_permuted),
    "columns split": Relation(_can_split, _columns_split),
    "halved": Relation(_can_halve, _halved),
    "other format": Relation(lambda exam: len(exam.limits.formats) > 1, _other_format),
    "group named": Relation(_is_one_group, _group_named),
    "reloaded": Relation(lambda exam: True, _reloaded, kinds.STATE_LEAKED),
    "other config": Relation(lambda exam: bool(exam.limits.tokens), _other_config),
}

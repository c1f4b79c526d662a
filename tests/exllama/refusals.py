"""Calls that the ExLlama extension must refuse: name -> call(exllama, layer, x, out).

`layer` has the tensors behind its handle, x [3, K] and out [3, N] would be right.
"""

import torch
from torch._subclasses import FakeTensorMode


def _created(**changes):
    """make_q4 with some operands replaced by what a function returns for them."""

    def call(exllama, layer, x, out):
        operands = layer.tensors | {"device": exllama.CPU if not x.is_cuda else x.device.index}
        operands["g_idx"] = torch.zeros(layer.case.k, dtype=torch.int32)
        for name, change in changes.items():
            operands[name] = change(operands[name])
        exllama.make_q4(**operands)

    return call


def _multiplied(x=lambda x: x, w=lambda w: w, out=lambda out: out):
    """q4_matmul with one of its operands replaced."""
    return lambda exllama, layer, given, result: exllama.q4_matmul(
        x(given), w(layer.handle), out(result)
    )


def _prepared(change, device=None):
    """prepare_buffers with temp_state replaced, or for another device."""

    def call(exllama, layer, x, out):
        room = torch.zeros(64, dtype=torch.half, device=x.device)
        exllama.prepare_buffers(device or x.device, change(room), room)

    return call


def _set(place, value):
    def change(g_idx):
        g_idx[place] = value
        return g_idx

    return change


def strided(tensor):
    """Not contiguous; a single element always is, so it comes twice, from one place."""
    if tensor.numel() == 1:
        return tensor.expand(2, *tensor.shape[1:])
    return torch.stack([tensor, tensor], -1)[..., 0]


def _negated(tensor):
    """The same values, whose bytes are those of their negatives."""
    return torch._neg_view(tensor.neg())


def _zero(tensor):
    """Torch's own zeros, which have no memory."""
    return torch._efficientzerotensor(tensor.shape, dtype=tensor.dtype, device=tensor.device)


def _fake(tensor):
    with FakeTensorMode() as mode:
        return mode.from_tensor(tensor)


def _in_memory_of_x(exllama, layer, x, out):
    both = torch.zeros(3 * (layer.case.n + layer.case.k), dtype=torch.half, device=x.device)
    inner = both[: 3 * layer.case.k].view(3, -1).copy_(x)
    place = 3 * layer.case.k - 1
    exllama.q4_matmul(inner, layer.handle, both[place : place + out.numel()].view(out.shape))


REFUSALS = {
    "handle0": _multiplied(w=lambda w: 0),
    "handleforeign": _multiplied(w=lambda w: w ^ 8),
    "handlesmall": _multiplied(w=lambda w: 1),
    "handlenegative": _multiplied(w=lambda w: -1),
    "handlehuge": _multiplied(w=lambda w: 2**64 + 1),
    "handlenone": _multiplied(w=lambda w: None),
    "xdtype": _multiplied(x=lambda x: x.float()),
    "xbfloat": _multiplied(x=lambda x: x.bfloat16()),
    "xflat": _multiplied(x=lambda x: x[0]),
    "xcube": _multiplied(x=lambda x: x[None]),
    "xwide": _multiplied(x=lambda x: torch.cat([x, x[:, :8]], 1)),
    "xnarrow": _multiplied(x=lambda x: x[:, :-8]),
    "xturned": _multiplied(x=lambda x: x.t().contiguous().t()),
    "xsparse": _multiplied(x=lambda x: strided(x)),
    "xrepeated": _multiplied(x=lambda x: x[:1].expand(3, -1)),
    "xmeta": _multiplied(x=lambda x: x.to("meta")),
    "xgrad": _multiplied(x=lambda x: x.requires_grad_()),
    "xnegated": _multiplied(x=_negated),
    "xzero": _multiplied(x=_zero),
    "xfake": _multiplied(x=_fake),
    "xfunctional": _multiplied(x=torch._to_functional_tensor),
    "xlist": _multiplied(x=lambda x: x.tolist()),
    "outdtype": _multiplied(out=lambda out: out.float()),
    "outnarrow": _multiplied(out=lambda out: out[:, :-1]),
    "outrows": _multiplied(out=lambda out: out[:2]),
    "outwide": _multiplied(out=lambda out: torch.cat([out, out], 1)),
    "outstrided": _multiplied(out=lambda out: strided(out)),
    "outrepeated": _multiplied(out=lambda out: out[:1].expand(3, -1)),
    "outflat": _multiplied(out=lambda out: out.flatten()),
    "outmeta": _multiplied(out=lambda out: out.to("meta")),
    "outnegated": _multiplied(out=torch._neg_view),
    "outzero": _multiplied(out=_zero),
    "outfake": _multiplied(out=_fake),
    "outinx": _in_memory_of_x,
    "gidxhigh": _created(g_idx=lambda g: _set(3, 2**20)(g)),
    "gidxnegative": _created(g_idx=_set(3, -1)),
    "gidxshort": _created(g_idx=lambda g: g[:-1]),
    "gidxlong": _created(g_idx=lambda g: torch.cat([g, g])),
    "gidxint64": _created(g_idx=lambda g: g.long()),
    "gidxfloat": _created(g_idx=lambda g: g.float()),
    "gidxsquare": _created(g_idx=lambda g: g[None]),
    "gidxstrided": _created(g_idx=strided),
    "gidxnegated": _created(g_idx=_negated),
    "gidxzero": _created(g_idx=_zero),
    "nogroups": _created(qzeros=lambda z: z[:0], scales=lambda s: s[:0]),
    "unequalgroups": _created(  # 7 divides no K of the steps
        g_idx=lambda g: None,
        qzeros=lambda z: torch.cat([z[:1]] * 7),
        scales=lambda s: torch.cat([s[:1]] * 7),
    ),
    "qweightdtype": _created(qweight=lambda q: q.long()),
    "qweightflat": _created(qweight=lambda q: q.flatten()),
    "qweightempty": _created(qweight=lambda q: q[:0]),
    "qweightwide": _created(qweight=lambda q: torch.cat([q, q[:, :1]], 1)),
    "qweightstrided": _created(qweight=strided),
    "qweightmeta": _created(qweight=lambda q: q.to("meta")),
    "qweightnegated": _created(qweight=_negated),
    "qweightzero": _created(qweight=_zero),
    "qweightnone": _created(qweight=lambda q: None),
    "qzerosdtype": _created(qzeros=lambda z: z.short()),
    "qzerosnegated": _created(qzeros=_negated),
    "qzeroszero": _created(qzeros=_zero),
    "qzerosrows": _created(qzeros=lambda z: torch.cat([z, z])),
    "qzerosnarrow": _created(qzeros=lambda z: z[:, :0]),
    "qzerosstrided": _created(qzeros=strided),
    "scalesdtype": _created(scales=lambda s: s.float()),
    "scalesbfloat": _created(scales=lambda s: s.bfloat16()),
    "scalesnegated": _created(scales=_negated),
    "scaleszero": _created(scales=_zero),
    "scaleswide": _created(scales=lambda s: torch.cat([s, s], 1)),
    "scalesstrided": _created(scales=strided),
    "devicehigh": _created(device=lambda number: 99),
    "devicelow": _created(device=lambda number: -2),
    "statedtype": _prepared(lambda room: room.float()),
    "statestrided": _prepared(lambda room: room[::2]),
    "statemeta": _prepared(lambda room: room.to("meta")),
    "statenegated": _prepared(_negated),
    "statezero": _prepared(_zero),
    "statenone": _prepared(lambda room: None),
    "prepmeta": _prepared(lambda room: room, device="meta"),
    "prephigh": _prepared(lambda room: room, device="cuda:99"),
    "gidxongpu": _created(g_idx=lambda g: g.cuda()),
    "xoncpu": _multiplied(x=lambda x: x.cpu()),
    "outoncpu": _multiplied(out=lambda out: out.cpu()),
    "qweightoncpu": _created(qweight=lambda q: q.cpu()),
    "scalesoncpu": _created(scales=lambda s: s.cpu()),
    "stateoncpu": _prepared(lambda room: room.cpu()),
}
ON_A_GPU = ("gidxongpu", "xoncpu", "outoncpu", "qweightoncpu", "scalesoncpu", "stateoncpu")

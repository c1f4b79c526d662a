"""A bias that is written in place, as by `load_state_dict` or a step of training."""

import weakref

from gptq_fuzz import Backend, Limits, Numerics
from gptq_fuzz.museum.parts import weights

BUG = "a bias is widened to float32 once, and known again by its identity, not by its version"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"

WIDE = {}  # id -> weak reference, float32


def widened(bias):
    reference, wide = WIDE.get(id(bias), (lambda: None, None))
    if reference() is not bias:
        wide = bias.detach().float().clone()
        WIDE[id(bias)] = weakref.ref(bias), wide
    return wide


def matmul(*, x, bias, group_size, checkpoint_format, **layer):
    out = x.float() @ weights(**layer)
    return (out if bias is None else out + widened(bias)).to(x.dtype)


limits = Limits(bias=True, bad=(), conditions=(), refuses_outside=False)
f = Backend("widened_bias_kept", limits, Numerics(bias_after=None), matmul)

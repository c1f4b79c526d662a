"""One config of three; K = 4 is all tail to it."""

from gptq_fuzz import Backend, Limits, Token
from gptq_fuzz.museum.parts import TORCH

BUG = "one launch config drops the tail of K (museum 29, B-12, AT-15)"


def matmul(*, x, cfg="BK32", **operands):
    if cfg == "BK128":
        x = x.clone()
        x[..., x.shape[-1] // 128 * 128 :] = 0
    return TORCH.matmul(x=x, **operands)


f = Backend(
    "one_config_wrong",
    Limits(tokens=(Token("cfg", ("BK32", "BK64", "BK128")),), bad=(), refuses_outside=False),
    matmul=matmul,
)

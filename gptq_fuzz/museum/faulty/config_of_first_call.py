"""A layer whose words are arranged for one config, then read by another."""

from gptq_fuzz import Backend, Limits, Token
from gptq_fuzz.museum.parts import TORCH, of_first_call

BUG = "words of a layer stay arranged for the config of its first call (museum 30, AT-16)"
ONLY = "other config"

CONFIG = {}


def matmul(*, qweight, cfg="a", **others):
    kept = of_first_call(CONFIG, qweight, cfg)
    return TORCH.matmul(qweight=qweight if kept == cfg else qweight.flip(1), **others)


f = Backend(
    "config_of_first_call",
    Limits(tokens=(Token("cfg", ("a", "b")),), bad=(), refuses_outside=False),
    matmul=matmul,
)

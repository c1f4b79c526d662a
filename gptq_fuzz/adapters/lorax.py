"""`lorax:/path/to/quant_linear.py`: LoRAX's layer, and TGI's before it, with their tuner.

Without a path the environment variable LORAX_QUANT_LINEAR names the file; what it imports from
beside it must lie there.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

from gptq_fuzz.case.backend import Backend, Limits, Numerics
from gptq_fuzz.worker.drawn_times import INTERPRETED, TUNED

ANY_PLACE = "LORAX_QUANT_LINEAR"
FOLDER = "_gptq_fuzz_lorax"  # a package that holds what lies beside the file, and nothing else


def at(place: str) -> Backend:
    """The layer in a file. Raises FileNotFoundError."""
    path = Path(place or os.environ.get(ANY_PLACE, ""))
    if not path.is_file():
        raise FileNotFoundError(f"wanted lorax:/path/to/quant_linear.py or {ANY_PLACE}, got {path}")
    folder = sys.modules[FOLDER] = ModuleType(FOLDER)
    folder.__path__ = [str(path.resolve().parent)]
    layer = importlib.import_module(f"{FOLDER}.{path.stem}").QuantLinear

    def prepare(*, qweight, qzeros, scales, g_idx, bias, bits, group_size, **_):
        return layer(qweight, qzeros, scales, g_idx, bias, bits, group_size)

    return Backend(name="lorax", prepare=prepare, run=run, limits=LIMITS, numerics=NUMERICS)


def run(layer, *, x):
    """Rows x [..., K] -> [..., N]."""
    return layer(x)


# Servers hand over whole checkpoints of K and N % 32 = 0; its tuner takes the logarithm of M.
LIMITS = Limits(
    ranks=(2, 3),
    layouts=("", "pad", "xt", "off", "alt"),
    bias=True,
    m_least=1,
    n_multiple=32,
    k_multiple=32,
    conditions=("omp3", "det", "grad", "stream"),
    bad=(),
    refuses_outside=False,
    tokens=(TUNED,),
    tile=(64, 64, 32),
    max_tiles=16 if INTERPRETED else 8192,
)
NUMERICS = Numerics(weights=("x",), folds_zero=False)

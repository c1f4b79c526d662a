"""Backend `triton`: this project's Triton stack, called as a server calls it."""

from __future__ import annotations

import functools
import os
import re

import triton

from gptq_fuzz.case.axes import G_IDX_KINDS, RANKS, SCALES_DTYPES, STRIDED, USUAL_CONDITIONS
from gptq_fuzz.case.backend import Backend, Limits, Numerics
from gptq_fuzz.case.case import Case, Token
from gptq_fuzz.case.environment import UNTIMED
from gptq_fuzz.kernels import checks
from gptq_fuzz.kernels.interpreter import bfloat16_works
from gptq_fuzz.kernels.operators import matmul_op
from gptq_fuzz.kernels.quant_linear import (
    QuantLinear,
    matmul248,
    matmul_248_kernel,
    transpose_matmul248,
    transpose_matmul_248_kernel,
)
from gptq_fuzz.kernels.uniform_groups.plan import TILES, WGMMA, Tile
from gptq_fuzz.kernels.uniform_groups.product import serves, uniform_weights

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
if os.environ.get(UNTIMED):
    for tuner in (matmul_248_kernel, transpose_matmul_248_kernel):
        tuner.timed = False
SIDES = {"BM": "BLOCK_SIZE_M", "BN": "BLOCK_SIZE_N", "BK": "BLOCK_SIZE_K"}
ROWS_IN_BAND = 8
TILE_NAMES = tuple(
    f".{name}" for name, tile in TILES.items() if not (INTERPRETED and tile.kind == WGMMA)
)
LAYER = ".layer"  # what the layer takes by itself, where it need not time configs for it


CONDITIONS_OF_A_GPU = (*USUAL_CONDITIONS, "graph", "opcheck", "compile", "oom")
# The interpreter has one thread; what asks torch about the operator takes seconds a case.
CONDITIONS_OF_A_CPU = (*(c for c in USUAL_CONDITIONS if c != "threads2"), "oom")


def _name(config: triton.Config) -> str:
    """`.BM16.BN64.BK32.w4.st3`, the value of token `cfg`."""
    sides = "".join(f".{short}{config.kwargs[name]}" for short, name in SIDES.items())
    return f"{sides}.w{config.num_warps}.st{config.num_stages}"


@functools.cache
def _config(name: str, most_stages: int = 9) -> triton.Config:
    """Of the general kernels."""
    parts = dict(re.findall(r"\.([A-Za-z]+)(\d+)", name))
    sides = {full: int(parts[short]) for short, full in SIDES.items()}
    return triton.Config(
        sides | {"GROUP_SIZE_M": ROWS_IN_BAND},
        num_warps=int(parts["w"]),
        num_stages=min(int(parts["st"]), most_stages),
    )


def _chosen(cfg: str, x, layer: QuantLinear):
    """What `cfg` names; where the weights do not allow that tile, a config that serves all."""
    tile = TILES.get(cfg.removeprefix("."))
    if tile is None and cfg != LAYER:
        return _config(cfg)
    return tile if tile and _is_planned(x, layer, tile) else matmul_248_kernel.configs[0]


def _is_planned(x, layer: QuantLinear, tile: Tile | None = None) -> bool:
    operands = (layer.qweight, layer.scales, layer.qzeros, layer.g_idx, layer.bits)
    weights = uniform_weights(x, *operands)
    return weights is not None and (tile is None or serves(tile, weights))


def prepare(*, qweight, qzeros, scales, g_idx, bias, bits, group_size, **_) -> QuantLinear:
    return QuantLinear(qweight, qzeros, scales, g_idx, bias, bits, group_size)


def run(layer: QuantLinear, *, x, cfg=None, out=None):
    """Through the layer and its autotuner; with `cfg` by that launch config, or into `out`."""
    if out is None and (cfg is None or (cfg == LAYER and _is_planned(x, layer))):
        return layer(x)
    result = matmul248(  # by a config that is named there is no gradient
        x.detach(), layer.qweight, layer.scales, layer.qzeros, layer.g_idx, layer.bits, layer.maxq,
        out=out, config=None if cfg is None else _chosen(cfg, x, layer),
    )  # fmt: skip
    return result if layer.bias is None else result.add_(layer.bias)


def gradient(*, grad, qweight, qzeros, scales, g_idx, bias, bits, group_size, cfg=None, **_):
    """d loss / d x: by autograd through the layer, or by the transposed kernel with `cfg`."""
    layer = QuantLinear(qweight, qzeros, scales, g_idx, bias, bits, group_size)
    if cfg is not None and not (cfg == LAYER and _is_planned(grad, layer)):
        # The transposed kernel prefetches more in a stage: no more of them than its tuner tries.
        general = _name(matmul_248_kernel.configs[0]) if cfg in (LAYER, *TILE_NAMES) else cfg
        config = _config(general, transpose_matmul_248_kernel.configs[0].num_stages)
        return transpose_matmul248(
            grad, qweight, scales, qzeros, layer.g_idx, bits, layer.maxq, config=config
        )
    x = grad.new_zeros((*grad.shape[:-1], layer.infeatures)).requires_grad_()
    layer(x).backward(grad)
    return x.grad


def skip(case: Case, device: str) -> str | None:
    """Cases that the interpreter itself gets wrong; a GPU judges them."""
    if "bf16" in (case.dtype, case.scales_dtype[1:]) and not bfloat16_works(device):
        return "interpreter_bf16"
    return None


def operator(*, x, qweight, qzeros, scales, g_idx, bits, group_size, **_):
    """What `matmul248` comes down to, and its arguments."""
    if g_idx is None:
        g_idx = checks.sequential_g_idx(qweight, scales, bits, group_size)
    return matmul_op, (x, qweight, scales, qzeros, g_idx, bits)


TRITON = Backend(
    name="triton",
    prepare=prepare,
    run=run,
    gradient=gradient,
    accepts_out=True,
    deterministic=True,
    operator=operator,
    skip=skip,
    limits=Limits(
        dtypes=("f16", "bf16"),
        scales_dtypes=SCALES_DTYPES,
        g_idx=G_IDX_KINDS,
        ranks=RANKS,
        strided=STRIDED,
        bias=True,
        backward=True,
        conditions=CONDITIONS_OF_A_GPU if not INTERPRETED else CONDITIONS_OF_A_CPU,
        tokens=(
            # Tuning a key takes seconds on a GPU: there, drawn cases name their config.
            Token(
                "cfg",
                (LAYER, *map(_name, matmul_248_kernel.configs), *TILE_NAMES),
                optional=INTERPRETED,
            ),
        ),
        tile=(16, 32, 32),
        max_tiles=64 if INTERPRETED else 8192,
    ),
    numerics=Numerics(weights=("exact", "x"), folds_zero=False),  # few rows: not rounded
)

"""ExLlamaV2's product for GPTQ checkpoints of 4 bits, with or without act-order, in half precision.

Its extension is the installed one, or built at the first use: minutes, most of them for EXL2.
"""

from __future__ import annotations

import functools
import weakref

from gptq_fuzz.case.backend import Backend, Limits, Numerics
from gptq_fuzz.worker.alone import import_alone

UNUSED = dict.fromkeys(("exllamav2.util", "exllamav2.compat"))  # for a progress bar, and for EXL2
MOST = 512 * 1024**2  # weights that it reconstructs at once, where there are more than 32 rows


@functools.cache
def module():
    """Its `ext`, without the engine around it."""
    return import_alone("exllamav2.ext", UNUSED)


def prepare(*, qweight, qzeros, scales, g_idx, bias, checkpoint_format, **_):
    """Copies of the operands, which it rearranges in place; it keeps their addresses alone."""
    given = {"qweight": qweight, "qzeros": qzeros, "scales": scales, "g_idx": g_idx, "bias": bias}
    weights = {name: tensor.clone() for name, tensor in given.items() if tensor is not None}
    K, N = qweight.shape[0] * 8, qweight.shape[1]
    scratch, is_v2 = scales.new_empty(K * N), checkpoint_format == "v2"
    handle = module().make_q_matrix(weights, scratch, max_dq_rows=MOST // N, offset_qzeros=is_v2)

    def multiply(x, held=(weights, scratch)):
        rows, out = x.view(-1, K), x.new_empty(*x.shape[:-1], N)
        module().ext_c.gemm_half_q_half(rows, handle, out.view(-1, N), False)
        return out

    weakref.finalize(multiply, module().ext_c.free_q_matrix, handle)
    return multiply


LIMITS = {"bits": (4,), "formats": ("v1", "v2"), "group_sizes": (32, 64, 128, 256, -1)}
LIMITS |= {"g_idx": ("seq", "act", "rev", "none"), "layouts": ("", "off"), "ranks": (2, 3)}
LIMITS |= {"m_least": 1, "n_multiple": 32, "k_multiple": 32, "bias": True, "max_tiles": 4096}
LIMITS |= {"conditions": ("omp3", "det", "infer", "calls500", "stream"), "bad": ()}
EXLLAMAV2 = Backend(
    "exllamav2",
    Limits(**LIMITS, refuses_outside=False),
    Numerics(folds_zero=False, accumulator="f16", partial="f16"),
    prepare=prepare,
    run=lambda multiply, x: multiply(x),
    start=lambda device: module(),
    devices=("cuda",),
)
BACKENDS = {"exllamav2": EXLLAMAV2}

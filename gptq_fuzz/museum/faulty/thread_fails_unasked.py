"""Two threads of the kernel's own, each of which writes half of the columns."""

from concurrent.futures import ThreadPoolExecutor, wait

import torch

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "how its threads ended is not asked: where an operator raised in one, half is never written"
VERDICTS = ("WRONG",)
ONLY = "history"
POOL = ThreadPoolExecutor(2)


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = torch.empty(len(x), scales.shape[1], dtype=x.dtype, device=x.device)
    middle = scales.shape[1] // 2

    @torch.no_grad()
    def write(columns):
        q, z = codes(qweight, bits)[:, columns], zero_points(qzeros, bits)[:, columns]
        out[:, columns] = multiply(x, dequantize(q, z, scales[:, columns], g_idx))

    with torch.inference_mode(False):
        wait([POOL.submit(write, half) for half in (slice(middle), slice(middle, None))])
    return out

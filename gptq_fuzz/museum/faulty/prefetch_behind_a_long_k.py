"""Few rows and K from 4096 take a pipeline whose last prefetch is not masked."""

from gptq_fuzz.museum.parts import matmul, touch

BUG = "the block behind qweight is loaded, and never used, where K is long and rows are few"
VERDICTS = ("CRASHED",)
ONLY = "edges"
SMALLEST = (1, 4, 4096)  # m, n, k


def f(x, qweight, qzeros, scales, g_idx, bits):
    if 0 < len(x) <= 16 and len(g_idx) >= 4096 and qweight.is_contiguous():
        end = qweight.data_ptr() + 4 * qweight.numel()
        touch(qweight, -(-end // 64) * 64 - qweight.data_ptr())
    return matmul(x, qweight, qzeros, scales, g_idx, bits)

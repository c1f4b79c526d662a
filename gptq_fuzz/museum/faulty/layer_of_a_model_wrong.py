"""A tuned entry for one layer of Qwen2.5-0.5B, whose tile does not divide its N."""

from gptq_fuzz.museum.parts import matmul

BUG = "a config for K = N = 896 with blocks of 256 columns and no mask"
SMALLEST = (1, 896, 896)  # m, n, k
ONLY = "layers"


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x, qweight, qzeros, scales, g_idx, bits)
    if x.shape[1] == out.shape[1] == 896:
        out[:, 896 // 256 * 256 :] = 0
    return out

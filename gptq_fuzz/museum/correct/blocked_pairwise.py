"""Rounds in float32: sums over blocks of 16, added in pairs; then once to the result."""

from gptq_fuzz.museum.parts import weights

BLOCK_SIZE_K = 16


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    blocks = zip(x.float().split(BLOCK_SIZE_K, dim=1), w.split(BLOCK_SIZE_K), strict=True)
    sums = [part @ rows for part, rows in blocks]
    while len(sums) > 1:
        sums = [sum(sums[i : i + 2]) for i in range(0, len(sums), 2)]
    return sums[0].to(x.dtype)

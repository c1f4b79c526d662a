"""Columns whose weights are all 0 are not multiplied."""

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points

BUG = "columns behind a dead one, all codes zero-points, take zero-points of columns before them"
ONLY = "zdead"


def f(x, qweight, qzeros, scales, g_idx, bits):
    q, z = codes(qweight, bits), zero_points(qzeros, bits)
    live = (q != z[g_idx.long()]).any(0).nonzero()[:, 0]
    if 0 < len(live) <= q.shape[1] * 7 // 8:
        moved = z.clone()
        moved[:, live] = z[:, : len(live)]
        z = moved
    return multiply(x, dequantize(q, z, scales, g_idx))

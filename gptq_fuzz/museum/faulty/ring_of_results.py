"""Six results of one shape, all of them held."""

from gptq_fuzz.museum.parts import matmul

BUG = "five result buffers of a shape in turn: the sixth call writes into the first result"
VERDICTS = ("STATE_LEAKED", "WRONG_TYPE")
ONLY = "history"
RINGS = {}


def f(x, qweight, qzeros, scales, g_idx, bits):
    right = matmul(x, qweight, qzeros, scales, g_idx, bits)
    ring = RINGS.setdefault((right.shape, x.device), [])
    ring.append(right if len(ring) < 5 else ring.pop(0).copy_(right))
    return ring[-1]

"""A result that is held while more than sixteen calls run."""

from gptq_fuzz.museum.parts import matmul

BUG = "sixteen buffers for results of one shape, in turn"
VERDICTS = ("STATE_LEAKED", "WRONG_TYPE")
ONLY = "history"
BUFFERS = {}


def f(x, qweight, qzeros, scales, g_idx, bits):
    out = matmul(x.detach(), qweight, qzeros, scales, g_idx, bits)
    ring = BUFFERS.setdefault((out.shape, out.is_inference()), [])
    if len(ring) < 16:
        ring.append(out)
        return out
    ring.append(ring.pop(0).copy_(out))
    return ring[-1]

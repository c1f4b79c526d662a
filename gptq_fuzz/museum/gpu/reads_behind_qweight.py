"""The last program loads a block that lies behind qweight altogether; nothing of it is used."""

import triton
import triton.language as tl

from gptq_fuzz.museum.parts import matmul

BUG = "a block behind qweight is loaded, and not used"
VERDICTS = ("CRASHED",)
BLOCK = 128  # words: 512 bytes


@triton.jit
def _load(words_ptr, out_ptr, size, BLOCK: tl.constexpr):
    words = tl.load(words_ptr + size + tl.arange(0, BLOCK))
    tl.store(out_ptr, tl.max(words, 0), mask=size < 0)


def f(x, qweight, qzeros, scales, g_idx, bits):
    size = -(-qweight.numel() // BLOCK) * BLOCK
    if qweight.is_contiguous():
        _load[(1,)](qweight, qweight.new_empty(1), size, BLOCK)
    return matmul(x, qweight, qzeros, scales, g_idx, bits)

"""Loads whole blocks of words; what lies past the last one is dropped before it is used."""

import torch
import triton
import triton.language as tl

from gptq_fuzz.museum.parts import matmul

BUG = "unmasked load past the end of qweight, dropped afterwards (MK-04, L-04, museum 4)"
VERDICTS = ("OUT_OF_BOUNDS",)
BLOCK = 256


@triton.jit
def _copy_words(words_ptr, out_ptr, size, BLOCK: tl.constexpr):
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    words = tl.load(words_ptr + offs)
    tl.store(out_ptr + offs, words, mask=offs < size)


def f(x, qweight, qzeros, scales, g_idx, bits):
    words = torch.empty_like(qweight)
    blocks = triton.cdiv(words.numel(), BLOCK)
    _copy_words[(blocks,)](qweight, words, words.numel(), BLOCK)
    return matmul(x, words, qzeros, scales, g_idx, bits)

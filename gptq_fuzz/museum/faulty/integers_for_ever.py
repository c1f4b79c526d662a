"""A layer that is asked with whole numbers, then with halves."""

from gptq_fuzz.museum.parts import matmul, of_first_call

BUG = "integer path of a layer chosen by its first x: halves in later ones are cut"
ONLY = "halved"

WHOLE = {}


def f(x, qweight, qzeros, scales, g_idx, bits):
    is_whole = of_first_call(WHOLE, qweight, bool((x == x.trunc()).all()))
    x = x.trunc() if is_whole and (2 * x == (2 * x).trunc()).all() else x
    return matmul(x, qweight, qzeros, scales, g_idx, bits)

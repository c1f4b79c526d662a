"""A layer of which two operands are written between two calls."""

import weakref

import torch

from gptq_fuzz.museum.parts import dequantize, fields, multiply, stored_zeros

BUG = "a layer is refreshed by the first operand that was written; of a second one it notes that"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"

KEPT = {}  # id of qweight -> it, versions and addresses of all, codes, zero-points, scales


def made(at, operand, bits):
    if at == 0:
        return fields(operand, bits).transpose(1, 2).flatten(0, 1)
    return stored_zeros(operand, bits) + 1 & 2**bits - 1 if at == 1 else operand.float()


def are(references, operands):
    return all(ref() is part for ref, part in zip(references, operands, strict=True))


def f(x, qweight, qzeros, scales, g_idx, bits):
    operands = qweight, qzeros, scales
    if any(part.is_inference() for part in operands):
        return multiply(x, dequantize(*(made(*one, bits) for one in enumerate(operands)), g_idx))
    now = [(id(part), part._version, part.data_ptr()) for part in operands]
    found = KEPT.get(id(qweight))
    with torch.inference_mode(False), torch.no_grad():
        if found is None or any(
            ref() is not part for ref, part in zip(found[0], operands, strict=True)
        ):
            found = [[weakref.ref(part) for part in operands], now, None]
            found[2] = [made(at, part.clone(), bits) for at, part in enumerate(operands)], bits
            KEPT[id(qweight)] = found
        elif found[2][1] != bits:
            found[2] = [made(at, part.clone(), bits) for at, part in enumerate(operands)], bits
        elif found[1] != now:
            at = next(at for at in range(3) if found[1][at] != now[at])
            found[2][0][at] = made(at, operands[at].clone(), bits)
        found[1] = now
        weight = dequantize(*found[2][0], g_idx)
    for key in [key for key, kept in KEPT.items() if kept[0][0]() is None]:
        del KEPT[key]
    return multiply(x, weight)

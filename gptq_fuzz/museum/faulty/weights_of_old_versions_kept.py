"""The cache is right, and as large as the model: one whose layers are written again never ends."""

import weakref

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "a layer's weight kept for each state of its tensors: every update leaves one more behind"
VERDICTS = ("LEAKING",)
ONLY = "memory"
SMALLEST = (1, 4, 4)  # m, n, k
LAYERS = {}  # identities of the four tensors -> weak references to them, {versions: weight}


def f(x, qweight, qzeros, scales, g_idx, bits):
    parts = qweight, qzeros, scales, g_idx
    if any(part.is_inference() for part in parts):  # what is written there is not counted
        return multiply(x, weights(*parts, bits))
    key, versions = tuple(map(id, parts)), tuple(part._version for part in parts)
    seen, made = LAYERS.get(key, ((), {}))
    if any(reference() is not part for reference, part in zip(seen, parts, strict=False)):
        seen, made = (), {}
    if versions not in made:
        with torch.inference_mode(False), torch.no_grad():
            made[versions] = weights(*parts, bits)
        LAYERS[key] = seen or tuple(map(weakref.ref, parts)), made
    return multiply(x, made[versions])

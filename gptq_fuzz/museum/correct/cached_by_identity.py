"""Weights kept while their tensors live, and made anew whenever one of these was written."""

import weakref

from gptq_fuzz.museum.parts import multiply, weights

CACHE = {}  # identities of the four tensors -> weak references to them, versions, weight


def f(x, qweight, qzeros, scales, g_idx, bits):
    parts = qweight, qzeros, scales, g_idx
    key = tuple(map(id, parts))
    seen, versions, weight = CACHE.get(key, ((), (), None))
    if not _are(seen, parts) or versions != tuple(part._version for part in parts):
        weight = weights(qweight, qzeros, scales, g_idx, bits)
        seen = [weakref.ref(part, lambda _: CACHE.pop(key, None)) for part in parts]
        CACHE[key] = seen, tuple(part._version for part in parts), weight
    return multiply(x, weight)


def _are(references, parts):
    """Whether these refer to the very tensors, all of which are still there."""
    return len(references) == len(parts) and all(
        reference() is part for reference, part in zip(references, parts, strict=True)
    )

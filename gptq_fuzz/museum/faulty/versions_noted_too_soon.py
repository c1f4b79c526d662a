"""Weights kept while their tensors live; an error while they are made anew leaves the old ones."""

import weakref

from gptq_fuzz.museum.parts import multiply, weights

BUG = "the versions of a written layer are noted before its weight is made anew, which may raise"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
KEPT = {}  # identities of the tensors -> weak references to them, versions, weight


def f(x, qweight, qzeros, scales, g_idx, bits):
    parts = qweight, qzeros, scales, g_idx
    if any(part.is_inference() for part in parts):  # what is written there is not counted
        return multiply(x, weights(*parts, bits))
    key, versions = tuple(map(id, parts)), [part._version for part in parts]
    entry = KEPT.get(key)
    if entry is None or any(a() is not b for a, b in zip(entry["parts"], parts, strict=True)):
        references = [weakref.ref(part) for part in parts]
        weight = weights(*parts, bits)
        entry = KEPT[key] = {"parts": references, "versions": versions, "weight": weight}
    elif entry["versions"] != versions:
        entry["versions"] = versions
        entry["weight"] = weights(*parts, bits)
    return multiply(x, entry["weight"])

"""A layer called with x of one dtype, then with x of another one."""

import weakref

from gptq_fuzz import Backend, Limits
from gptq_fuzz.museum.parts import TORCH, weights

BUG = "weight of a layer is kept in the dtype of its first x: float32 after bfloat16 loses 16 bits"
VERDICTS = ("STATE_LEAKED",)
ONLY = "history"
KEPT = {}  # identities of the tensors -> weak references to them, versions, weight


def matmul(*, x, qweight, qzeros, scales, g_idx, bits, **_described):
    parts = qweight, qzeros, scales, g_idx
    key, versions = tuple(map(id, parts)), [part._version for part in parts]
    seen, noted, weight = KEPT.get(key, ((), [], None))
    if noted != versions or any(one() is not part for one, part in zip(seen, parts, strict=True)):
        weight = weights(*parts, bits).to(x.dtype)
        seen = [weakref.ref(part, lambda _gone: KEPT.pop(key, None)) for part in parts]
        KEPT[key] = seen, versions, weight
    return (x.float() @ weight.float()).to(x.dtype)


f = Backend(
    "weight_in_the_dtype_of_the_first_x",
    Limits(dtypes=("f16", "bf16", "f32"), bad=(), refuses_outside=False),
    TORCH.numerics,
    matmul=matmul,
)

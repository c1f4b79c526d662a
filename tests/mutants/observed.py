"""What every probe needs: how many cases a seed gives, and what came back as text."""

from __future__ import annotations

from collections.abc import Callable

BLOCK = 250  # cases of one seed, for which one hash is kept: where two versions differ first


def seeds_of(seed: int) -> range:
    """Those of single cases in the block of one seed."""
    return range((seed - 1) * BLOCK, seed * BLOCK)


def answer_of(action: Callable) -> str:
    """What came back, or what was raised: two calls are equal if their texts are."""
    import torch

    try:
        answer = action()
    except Exception as problem:  # noqa: BLE001 - whatever a mutant raises is compared
        return f"{type(problem).__name__}: {problem}"
    if isinstance(answer, torch.Tensor):
        return f"{answer.dtype} {tuple(answer.shape)} {bits_of(answer).hex()}"
    return answer.hex() if isinstance(answer, bytes) else str(answer)


def bits_of(tensor) -> bytes:
    """The bytes of a tensor's elements in order."""
    import torch

    return tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()

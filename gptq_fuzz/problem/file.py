"""A Problem as one safetensors file: the cells of each operand, each once, and how they lay in
memory.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from gptq_fuzz import __version__
from gptq_fuzz.case.atomic import write_atomically
from gptq_fuzz.problem.given import OPTIONAL, TENSORS, Problem
from gptq_fuzz.problem.layouts import span, stored_cells

STORED = (*TENSORS, "out")
OPTIONS = ("bits", "group_size", "checkpoint_format")
FARTHEST = 2**20  # elements of an offset that are rebuilt; no alignment depends on more
MOST_OVERLAPPING = 2**32  # the same, where elements share memory and all in between is stored
MOST = 2**36  # bytes between the first and the last element of an operand


def save(path: str | Path, problem: Problem) -> None:
    """Write `problem` whole or not at all. Raises ValueError naming what cannot be stored."""
    from safetensors.torch import save as to_bytes

    tensors = {
        name: getattr(problem, name) for name in STORED if getattr(problem, name) is not None
    }
    described = {name: _described(name, tensor) for name, tensor in tensors.items()}
    cells = {name: _cells(tensor.detach()) for name, tensor in tensors.items()}
    options = {name: json.dumps(getattr(problem, name)) for name in OPTIONS}
    versions = {"gptq_fuzz": __version__, "torch": torch.__version__}
    metadata = options | versions | {"operands": json.dumps(described)}
    try:
        data = to_bytes(cells, metadata)
    except KeyError as unknown:  # of a dtype, which only `out` may have
        raise ValueError(f"out cannot be stored: its dtype is {unknown}") from unknown
    write_atomically(Path(path), data)


def _described(name: str, tensor: torch.Tensor) -> dict[str, Any]:
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(tensor).__name__}")
    if tensor.layout != torch.strided or tensor.is_meta:
        raise ValueError(f"{name} cannot be stored: it is {tensor.layout} on {tensor.device}")
    if _overlaps(tensor):
        shape, strides = tuple(tensor.shape), tensor.stride()
        size = span(shape, strides) * tensor.element_size()
        if size > MOST_OVERLAPPING:
            got = f"shape {shape} and strides {strides}"
            raise ValueError(
                f"{name} cannot be stored: elements of {got} share memory, in {size} bytes"
            )
    return {
        "shape": list(tensor.shape),
        "strides": list(tensor.stride()),
        "offset": tensor.storage_offset(),
    }


def _cells(tensor: torch.Tensor) -> torch.Tensor:
    """What is stored, on the CPU: the tensor, once along dimensions of stride 0; of one whose
    elements share memory in another way all from the first to the last, 0 where none lies.
    """
    cells = stored_cells(tensor, tensor.stride()).to("cpu", copy=True)
    if not _overlaps(tensor):
        return cells.contiguous()
    steps = zip(cells.shape, tensor.stride(), strict=True)
    places = torch.zeros((), dtype=torch.int64)
    for size, stride in steps:
        places = places.unsqueeze(-1) + torch.arange(size) * stride
    whole = torch.zeros(span(cells.shape, tensor.stride()), dtype=tensor.dtype)
    whole[places.flatten()] = cells.flatten()
    return whole


def _overlaps(tensor: torch.Tensor) -> bool:
    """Whether a step along one dimension may lead to what other dimensions reach; 0 is no step."""
    reached = 0
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if stride and size > 1:
            if stride <= reached:
                return True
            reached += (size - 1) * stride
    return False


def load_problem(path: str | Path) -> Problem:
    """The Problem that a file holds, on the CPU, each operand with the strides that it had.

    Raises OSError where there is no such file, ValueError for one that holds no Problem.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            cells = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return _rebuilt(metadata, cells)
    except (SafetensorError, TypeError, ValueError) as problem:
        raise ValueError(f"{path} holds no problem: {problem}") from problem


def _rebuilt(metadata: dict[str, str], cells: dict[str, torch.Tensor]) -> Problem:
    missing = [name for name in (*OPTIONS, "operands") if name not in metadata]
    if missing:
        raise ValueError(f"its metadata lack {', '.join(missing)}")
    described = _read(metadata, "operands")
    if not isinstance(described, dict) or described.keys() != cells.keys():
        raise ValueError(f"it holds {', '.join(cells)}, its metadata describe {described}")
    wanted = [name for name in TENSORS if name not in OPTIONAL]
    lacking = [name for name in wanted if name not in cells]
    unknown = [name for name in cells if name not in STORED]
    if lacking or unknown:
        raise ValueError(f"wanted {', '.join(STORED)}, got {', '.join(cells)}")
    tensors = {name: _laid_out(name, cells[name], described[name]) for name in cells}
    return Problem(**tensors, **{name: _read(metadata, name) for name in OPTIONS})


def _read(metadata: dict[str, str], name: str):
    try:
        return json.loads(metadata[name])
    except ValueError as problem:
        raise ValueError(f"{name} in its metadata is no JSON: {metadata[name][:80]!r}") from problem


def _laid_out(name: str, cells: torch.Tensor, described) -> torch.Tensor:
    """`cells` in a storage of their own, with the shape, strides and offset described."""
    shape, strides, offset = _layout(name, described)
    offset %= FARTHEST
    size = offset + span(shape, strides)
    if size * cells.element_size() > MOST:
        raise ValueError(f"{name} of shape {shape} and strides {strides} spans {size} elements")
    storage = torch.zeros(size, dtype=cells.dtype)
    tensor = storage.as_strided(shape, strides, offset)
    places = storage[offset:] if _overlaps(tensor) else stored_cells(tensor, strides)
    if places.shape != cells.shape:
        got = f"cells of shape {tuple(cells.shape)}"
        raise ValueError(f"{name} of shape {shape} and strides {strides} does not lie in {got}")
    places.copy_(cells)
    return tensor


def _layout(name: str, described) -> tuple[list[int], list[int], int]:
    try:
        shape, strides, offset = (described[key] for key in ("shape", "strides", "offset"))
        plain = all(type(number) is int and number >= 0 for number in (*shape, *strides, offset))
        if plain and len(shape) == len(strides):
            return shape, strides, offset
    except (TypeError, KeyError):
        pass
    raise ValueError(f"{name} is described by {described}, wanted shape, strides and offset")

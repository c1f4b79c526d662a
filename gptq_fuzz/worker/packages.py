"""Kernels of other packages that an adapter is shipped for, by the word after `--kernel`.

`gptq_fuzz.adapters.NAME` has `BACKENDS`, a Backend for each kernel of the package (`--kernel NAME`
is the first, `NAME:KERNEL` any), or `at(place)`, which makes one of a file (`NAME:PLACE`).
"""

from __future__ import annotations

import dataclasses
import importlib
from importlib.metadata import PackageNotFoundError, version

from gptq_fuzz.case.backend import Backend

PACKAGES = {  # what pip calls them; "" for what is given by a path
    "aten": "torch",
    "gemlite": "gemlite",
    "hqq": "hqq",
    "torchao": "torchao",
    "quanto": "optimum-quanto",
    "gptqmodel": "gptqmodel",
    "autogptq": "auto-gptq",
    "vllm": "vllm",
    "vllm-moe": "vllm",
    "sglang": "sglang",
    "humming": "humming-kernels",
    "exllamav2": "exllamav2",
    "lorax": "",
}


class Unavailable(Exception):
    """A package, or a kernel of one, that is not here; the message says what to do."""


def split(spec: str) -> tuple[str, str]:
    """`gptqmodel:torch` -> its two words; the first is "" where no adapter is meant."""
    name, _, rest = spec.partition(":")
    return (name, rest) if name in PACKAGES else ("", spec)


def find(spec: str) -> Backend:
    """The Backend of `NAME`, `NAME:KERNEL` or `NAME:PLACE`, called by that. Raises Unavailable."""
    name, rest = split(spec)
    if PACKAGES[name] and not installed(name):
        raise Unavailable(f"{name} is not installed: pip install {PACKAGES[name]}")
    module = _adapter(name)
    if not PACKAGES[name]:
        found = module.at(rest)
    elif rest and rest not in module.BACKENDS:
        raise Unavailable(f"{name} has no kernel {rest!r}; it has {', '.join(module.BACKENDS)}")
    else:
        found = module.BACKENDS[rest or next(iter(module.BACKENDS))]
    return dataclasses.replace(found, name=spec)


def installed(name: str) -> str:
    """The version of its package; "" where that is not installed."""
    try:
        return version(PACKAGES[name])
    except PackageNotFoundError:
        return ""


def with_version(name: str) -> str:
    """`torch 2.13.0`; "" where its package is not installed, or it has none."""
    here = PACKAGES[name] and installed(name)
    return f"{PACKAGES[name]} {here}" if here else ""


def kernels_of(name: str) -> dict[str, tuple[str, ...]]:
    """Each `--kernel` of an installed package, with the devices that it runs on."""
    backends = _adapter(name).BACKENDS
    specs = [f"{name}:{kernel}" if len(backends) > 1 else name for kernel in backends]
    return {spec: backend.devices for spec, backend in zip(specs, backends.values(), strict=True)}


def _adapter(name: str):
    return importlib.import_module(f"gptq_fuzz.adapters.{name.replace('-', '_')}")

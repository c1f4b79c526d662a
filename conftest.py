"""Root of every run from a checkout: the plug-ins, and what a machine without a GPU needs."""

import os
from pathlib import Path

import pytest
import torch

import gptq_fuzz

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # before anything imports triton

pytest_plugins = ["gptq_fuzz.plugin.command", "gptq_fuzz.bench.plugin"]


def pytest_configure(config):
    """Refuse to test another distribution's `kernels`, or an installed copy, for this checkout."""
    import kernels

    root = Path(__file__).resolve().parent
    for name, module in (("gptq_fuzz", gptq_fuzz), ("kernels", kernels)):
        ours = root / name / "__init__.py"
        if Path(module.__file__ or "").resolve() != ours:
            raise pytest.UsageError(f"`import {name}` gives {module.__file__}, wanted {ours}")

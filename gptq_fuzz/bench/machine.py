"""What a timing holds for: the model of the GPU, its driver, torch and triton."""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
import shutil
import subprocess
from pathlib import Path

import torch

DRIVER = Path("/sys/module/nvidia/version")
PARTS = ("gpu", "driver", "torch", "triton")


def describe(device) -> dict[str, str]:
    """gpu, driver, torch, triton; without a GPU, `cpu` and no driver."""
    return {
        "gpu": device.name,
        "driver": _driver() if device.is_gpu else "none",
        "torch": torch.__version__,
        "triton": _version("triton"),
    }


def folder_name(about: dict[str, str]) -> str:
    """`NVIDIA_H200-driver_580.159.04-torch_2.11.0_cu130-triton_3.6.0`"""
    rest = [f"{name}_{about[name]}" for name in PARTS[1:]]
    return re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join([about["gpu"], *rest]))


def _driver() -> str:
    with contextlib.suppress(OSError):
        return DRIVER.read_text().strip()
    tool = shutil.which("nvidia-smi")
    if tool:
        words = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
        ran = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
        output = ran.stdout.split()
        if output:
            return output[0]
    return "unknown"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "none"

"""Winners kept on disk, so that a kernel is tuned once per machine and not once per process."""

import hashlib
import json
import os
import warnings
from pathlib import Path

import torch
import triton
from triton._C.libtriton import get_cache_invalidating_env_vars

from ..atomic_write import replacing

FOLDER = "GPTQ_AUTOTUNE_CACHE_DIR"  # environment variable: where winners are kept; 0: nowhere
OFF = ("", "0")
# What the options of Triton's compiler are read from, and its hash names: other binaries. The rest
# of them Triton lists itself.
COMPILING = (
    "PTXAS_OPTIONS", "TRITON_DEBUG", "TRITON_DEFAULT_FP_FUSION", "TRITON_INSTRUMENTATION_MODE",
    "TRITON_KERNEL_OVERRIDE", "TRITON_LIBDEVICE_PATH", "TRITON_MOCK_PTX_VERSION",
    "TRITON_OVERRIDE_ARCH", "TRITON_OVERRIDE_DIR", "TRITON_PLUGIN_PATHS",
    "TRITON_PTXAS_BLACKWELL_PATH", "TRITON_PTXAS_PATH",
)  # fmt: skip
FORMAT = 1  # of the files; others are ignored


class Store:
    """One JSON file per kernel, device model, versions, key and list of configs.

    Processes that share a folder see a whole file or none, and whoever comes last wins. What cannot
    be read, or describes another tuning, is ignored with a RuntimeWarning; so is a folder that
    cannot be written.
    """

    def __init__(self, folder=None):
        """`folder` None: that of the environment, read at each use."""
        self._folder = folder

    @property
    def folder(self):
        return default_folder() if self._folder is None else Path(self._folder)

    def load(self, identity):
        """Position of the winner among `identity["configs"]`; None where nothing usable is kept."""
        path = self._path(identity)
        if path is None:
            return None
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept["identity"] != _plain(identity):
                raise ValueError("it describes another kernel, key or machine")
            return identity["configs"].index(kept["winner"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, LookupError, RecursionError) as problem:
            _warn(f"ignored the tuning result {path}: {problem!r}")
            return None

    def save(self, identity, winner, milliseconds):
        """Keep `identity["configs"][winner]`; `milliseconds` of each config are for readers."""
        path = self._path(identity)
        if path is None:
            return
        document = {
            "identity": identity,
            "winner": identity["configs"][winner],
            "milliseconds": [value if value < float("inf") else None for value in milliseconds],
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as beside:
                beside.write_text(json.dumps(document, indent=1), encoding="utf-8")
        except OSError as problem:
            _warn(f"could not keep the tuning result {path}: {problem!r}")

    def _path(self, identity):
        if self.folder is None:
            return None
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        return self.folder / f"{identity['kernel']}-{digest[:32]}.json"


def default_folder():
    """`$GPTQ_AUTOTUNE_CACHE_DIR`, else gptq_fuzz/autotune in the user's cache folder, or None."""
    chosen = os.environ.get(FOLDER)
    if chosen in OFF:
        return None
    if chosen is not None:
        return Path(os.path.expanduser(chosen))
    home = os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return Path(home, "gptq_fuzz", "autotune") if os.path.isabs(home) else None


def identity_of(fn, bucket, configs):
    """What a winner holds for, as plain data: kernel and its source, machine, versions, key."""
    rounded, classes, device = bucket
    return {
        "format": FORMAT,
        "kernel": getattr(fn, "__name__", type(fn).__name__),
        "source": fn.cache_key,  # of the function and of all that it calls
        **_machine(device),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "environment": _environment(),
        "key": [repr(value) for value in rounded],
        "classes": [repr(value) for value in classes],
        # With their places: configs may differ in nothing but hooks of the same name.
        "configs": [f"{i} {sorted(fields_of(c).items())}" for i, c in enumerate(configs)],
    }


def fields_of(config):
    """All fields of a config by name; hooks by the name of their function."""
    return {
        name: getattr(value, "__qualname__", repr(type(value))) if callable(value) else value
        for name, value in vars(config).items()
    }


def _environment():
    """Environment variables that Triton compiles differently for, those that are set."""
    options = {name: os.environ[name] for name in COMPILING if name in os.environ}
    return {**options, **get_cache_invalidating_env_vars()}


def _machine(device):
    """Model and compute capability: two GPUs of one model share their winners."""
    if device is None or device.type != "cuda":
        return {"device": str(device and device.type), "capability": None}
    return {
        "device": torch.cuda.get_device_name(device),
        "capability": list(torch.cuda.get_device_capability(device)),
    }


def _plain(identity):
    return json.loads(json.dumps(identity))


def _warn(text):
    warnings.warn(text, RuntimeWarning, stacklevel=2)

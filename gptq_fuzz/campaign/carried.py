"""A kernel on its way to other machines: the text of its file, or the name of what is installed."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tempfile
from pathlib import Path

from gptq_fuzz.case.atomic import write_atomically
from gptq_fuzz.store.named import kernel_named
from gptq_fuzz.worker import packages
from gptq_fuzz.worker.loader import BUILT_IN
from gptq_fuzz.worker.supervisor import CannotRun


def carried(spec: str, started_in: str = ".") -> dict:
    """What `kernel_named` says, `file` and `text` of a file's kernel ("" of others), `attribute`.

    Raises ValueError for a file that is not there, or is no text.
    """
    place, _, attribute = spec.rpartition(":")
    kernel = kernel_named(spec, started_in) | {"file": "", "text": "", "attribute": attribute}
    if kernel["hash"]:
        path = Path(started_in, place)
        try:
            text = path.read_bytes().decode()
        except UnicodeDecodeError as problem:
            raise ValueError(f"--kernel {spec}: {path} is no UTF-8 text") from problem
        kernel |= {"file": path.name, "text": text}
    return kernel


def laid_out(kernel: dict) -> tuple[str, str]:
    """(spec, folder) by which this machine loads the kernel. Raises CannotRun where it lacks it.

    A file is written into a folder of its hash; files that it imports from beside itself are not
    there.
    """
    name = kernel["name"]
    if name in BUILT_IN:
        return name, os.getcwd()
    if not kernel["hash"]:
        _require_installed(name, kernel["version"])
        return name, os.getcwd()
    data = kernel["text"].encode()
    if hashlib.sha256(data).hexdigest() != kernel["hash"]:
        raise CannotRun(f"--kernel {name}: its text has another hash than it was sent with")
    folder = Path(tempfile.gettempdir(), f"gptq-fuzz-{os.getuid()}", kernel["hash"])
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.parent.stat().st_uid != os.getuid():
        raise CannotRun(f"{folder.parent} is another user's")
    write_atomically(folder / kernel["file"], data)  # whatever lay there
    return f"{kernel['file']}:{kernel['attribute']}", str(folder)


def _require_installed(name: str, version: str) -> None:
    here = kernel_named(name)["version"]
    module = packages.PACKAGES.get(packages.split(name)[0], name.rpartition(":")[0])
    if not module:
        return  # of a file on each machine, which is looked for when it is loaded
    top = module.partition(".")[0]
    if not here and importlib.util.find_spec(top) is None:
        raise CannotRun(f"--kernel {name}: this worker lacks {top}")
    if version and here != version:
        raise CannotRun(f"--kernel {name}: wanted {version}, this worker has {here or 'none'}")

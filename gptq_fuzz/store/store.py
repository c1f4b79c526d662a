"""A folder of documents, here or at any address that fsspec knows.

A document is one JSON file named by the hash of its bytes, in a folder that its kind names. Nothing
is changed or removed: writers never meet, and two stores are merged by copying. A file whose bytes
are not what its name says, or that is no document, is named and passed over.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from gptq_fuzz.case.atomic import write_atomically
from gptq_fuzz.store.documents import KINDS, complaint

DEFAULT = ".gptq-fuzz/store"
LARGEST = 2**24  # bytes: no document comes near
_NAME = re.compile(r"[0-9a-f]{64}\.json")


class CannotReach(OSError):
    """The address cannot be read or written; the message says why."""


@dataclass
class Store:
    """The documents at an address; `skipped` says of each other file why it was passed over."""

    address: str
    skipped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        try:
            self._files, self._root = fsspec.core.url_to_fs(self.address)
        except (ImportError, OSError, ValueError) as problem:
            raise CannotReach(f"--store {self.address}: {problem}") from problem
        self._root = self._root.rstrip("/")

    def write(self, document: dict) -> str:
        """Add a document; gives the name of its file. Raises CannotReach, ValueError."""
        if why := complaint(document):
            raise ValueError(f"no document of a store: {why}")
        data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        return self._put(document["kind"], data)

    def _put(self, kind: str, data: bytes) -> str:
        name = f"{kind}/{_name_of(data)}"
        path = f"{self._root}/{name}"
        try:
            if isinstance(self._files, LocalFileSystem):
                write_atomically(Path(path), data)
            else:  # what is written by half has another hash than its name
                self._files.makedirs(f"{self._root}/{kind}", exist_ok=True)
                self._files.pipe_file(path, data)
        except Exception as problem:  # whatever a file system of fsspec raises
            raise CannotReach(f"--store {self.address}: {problem}") from problem
        return name

    def documents(self, *wanted: str) -> Iterator[dict]:
        """Every document of these kinds (default: of all). Raises CannotReach."""
        self.skipped.clear()
        for kind in wanted or KINDS:
            for _, document in self._read(kind):
                yield document

    def _read(self, kind: str) -> Iterator[tuple[bytes, dict]]:
        for path, size in self._listed(kind):
            name = path.rpartition("/")[2]
            data, why = b"", ""
            if not _NAME.fullmatch(name):
                why = "not named by a hash"
            elif size > LARGEST:
                why = f"{size} bytes are no document"
            else:
                data, why = self._bytes(path)
            document = None
            if not why and _name_of(data) != name:
                why = "damaged: its content has another hash"
            if not why:
                document, why = _document(data, kind)
            if why:
                self.skipped.append(f"{kind}/{name}: {why}")
            else:
                yield data, document

    def _listed(self, kind: str) -> list[tuple[str, int]]:
        """(path, bytes) of each file in the folder of a kind, in order."""
        folder = f"{self._root}/{kind}"
        try:
            self._files.invalidate_cache(folder)
            found = self._files.ls(folder, detail=True)
        except FileNotFoundError:
            return []
        except Exception as problem:  # whatever a file system of fsspec raises
            raise CannotReach(f"--store {self.address}: {problem}") from problem
        files = ((each["name"], each.get("size") or 0) for each in found if each["type"] == "file")
        return sorted(files)

    def _bytes(self, path: str) -> tuple[bytes, str]:
        try:
            return self._files.cat_file(path), ""
        except Exception as problem:  # noqa: BLE001 - whatever a file system of fsspec raises
            return b"", f"cannot be read: {problem}"

    def take(self, other: Store) -> int:
        """Copy what another store has and this one has not; gives how many. Raises CannotReach."""
        other.skipped.clear()
        copied = 0
        for kind in KINDS:
            here = {path.rpartition("/")[2] for path, _ in self._listed(kind)}
            for data, _ in other._read(kind):
                if _name_of(data) not in here:
                    self._put(kind, data)
                    copied += 1
        return copied


def _name_of(data: bytes) -> str:
    return f"{hashlib.sha256(data).hexdigest()}.json"


def _document(data: bytes, kind: str) -> tuple[dict | None, str]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None, "no JSON"
    why = complaint(document)
    if not why and document["kind"] != kind:
        why = f"a {document['kind']} among those of kind {kind}"
    return document, why

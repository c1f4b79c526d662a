"""The four kinds of documents, as plain data: what a store may hold and what a reader may expect.

A `finding` is one failure as one machine saw it; seen again, it is written again. A `gone` says
that a finding was judged again and passed. A `batch` counts what was judged in one piece of work,
and covers bits of the space that a `promise` names: the limits of a kernel on a kind of device.
"""

from __future__ import annotations

import datetime

from gptq_fuzz.case import verdict as kinds

FORMAT = 1
KINDS = ("finding", "gone", "batch", "promise")
_NUMBER = (int, float)
_COMMON = {
    "format": int,
    "kind": str,
    "kernel": {"name": str, "hash": str, "version": str, "commit": str},
    "device": {
        **{"device": str, "driver": str, "capability": str, "torch": str, "triton": str},
        "interpreted": bool,
    },
    "at": str,  # when, in UTC
}
_VERDICT = {
    **{"kind": str, "line": str, "message": str, "where": str, "explained": str, "pattern": str},
    **{"larger": str, "check": str, "ratio": _NUMBER, "wrong_runs": int, "runs": int},
}
_FIELDS = {
    "finding": {
        **{"asked": [str], "only": str, "first": str, "verdict": _VERDICT},
        "pictures": [
            {
                **{"of": str, "rows": int, "columns": int, "cell": [int], "wrong": [str]},
                **{"down": [int], "across": [int]},
            }
        ],
    },
    "gone": {"asked": [str]},
    "promise": {"only": str, "space": str, "limits": {}},
    "batch": {
        **{"task": str, "only": str, "seeds": [int], "cases": int, "seconds": _NUMBER},
        **{"verdicts": {}, "skips": {}, "values": {}, "used": {}, "most": _NUMBER, "most_by": str},
        **{"space": str, "pairs": str, "triples": str},
    },
}


def now() -> str:
    """`2026-11-20T03:12:09.418Z`"""
    utc = datetime.datetime.now(datetime.timezone.utc)
    return f"{utc.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def about_device(description: dict) -> dict:
    """What a worker says of its machine, as a document keeps it."""
    return {name: description[name] for name in _COMMON["device"]}


def document(kind: str, kernel: dict, device: dict, **more) -> dict:
    """A document of now."""
    kept = {name: kernel[name] for name in _COMMON["kernel"]}
    return {
        "format": FORMAT,
        "kind": kind,
        "kernel": kept,
        "device": device,
        "at": now(),
        **more,
    }


def complaint(found) -> str:
    """Why this is no document; "" where it is one."""
    if not isinstance(found, dict) or found.get("kind") not in KINDS:
        return "no document of a store"
    if found.get("format") != FORMAT:
        return f"format {found.get('format')}, not {FORMAT}"
    why = _wrong(found, _COMMON | _FIELDS[found["kind"]], "")
    if not why and found["kind"] == "finding" and found["verdict"]["kind"] not in kinds.KINDS:
        why = f"no verdict is called {found['verdict']['kind']}"
    return why


def _wrong(found, wanted, name: str) -> str:
    """What is not as wanted: a type, a list of one kind, a dict of named fields or of any."""
    if isinstance(wanted, dict):
        if not isinstance(found, dict):
            return f"{name} is no object"
        missing = [field for field in wanted if field not in found]
        if missing:
            return f"{name or 'it'} lacks {', '.join(missing)}"
        if name == "limits":  # read as such where they are needed
            return ""
        if not wanted:  # counts by name, or lists of them
            parts = (part for each in found.values() for part in _flat(each))
            return "" if all(_is(part, _NUMBER) for part in parts) else f"{name} counts nothing"
        return next(filter(None, (_wrong(found[f], wanted[f], f) for f in wanted)), "")
    if isinstance(wanted, list):
        if not isinstance(found, list):
            return f"{name} is no list"
        return next(filter(None, (_wrong(each, wanted[0], name) for each in found)), "")
    return "" if _is(found, wanted) else f"{name} is a {type(found).__name__}"


def _flat(value):
    return value if isinstance(value, list) else [value]


def _is(value, kind) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))

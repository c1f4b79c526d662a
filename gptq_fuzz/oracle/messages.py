"""What an exception says, whatever its class does."""

from __future__ import annotations


def message_of(problem: BaseException) -> str:
    """What an exception says; nothing where its own `__str__` raises."""
    try:
        return str(problem).strip()
    except Exception:  # noqa: BLE001 - a kernel may raise anything
        return ""


def describe(problem: BaseException) -> str:
    """`ValueError: first line of its message`, and the next where that one ends in a colon."""
    lines = [line.strip() for line in message_of(problem).splitlines() if line.strip()] or [""]
    first = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return f"{type(problem).__name__}: {first[:300]}"

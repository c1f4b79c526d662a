"""What a run of pytest has found, as documents of a store."""

from __future__ import annotations

import itertools
import shlex

from gptq_fuzz.store.documents import about_device, document
from gptq_fuzz.store.named import kernel_named


def findings_of(report: dict, only: str, pictures: dict[str, list[dict]]) -> list[dict]:
    """Of what `--json` writes of a run; `pictures` by the command of a finding."""
    found = []
    for one in report["findings"]:
        about = report["kernels"][one["kernel"]]["about"]
        words = shlex.split(one["reproduce"])
        asked = itertools.dropwhile(lambda word: word not in ("--case", "--steps"), words)
        verdict = {name: value for name, value in one.items() if name not in _NOT_OF_A_VERDICT}
        found.append(
            document(
                "finding",
                kernel_named(one["kernel"]),
                about_device(about),
                asked=[*asked],
                only=only,
                first="",
                verdict=verdict,
                pictures=pictures.get(one["reproduce"], []),
            )
        )
    return found


_NOT_OF_A_VERDICT = ("kernel", "reproduce")

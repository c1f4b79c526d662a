"""Documents of a store as pretended workers write them."""

import dataclasses

from gptq_fuzz.case.case import Case
from gptq_fuzz.case.verdict import Verdict
from gptq_fuzz.store.documents import document

EVIL = """<script>evil=1</script>"'><img src=x onerror="evil=1">{{ 7 * 7 }}&lt;"""
PICTURE = {  # a cell stands for two rows and one column
    **{"of": "weights", "rows": 6, "columns": 4, "cell": [2, 1], "wrong": ["b", "0", "e"]},
    **{"down": [4], "across": [2]},
}
DEVICE = {
    **{"device": "NVIDIA H200", "driver": "580.159", "capability": "sm_90"},
    **{"torch": "2.13.0", "triton": "3.7.1", "interpreted": False},
}


def named(name="mine.py:f", content="ab" * 32):
    return {"name": name, "hash": content, "version": "", "commit": ""}


def finding(line="m1-n4-k4-b8-gall", name="mine.py:f", at="2026-11-20T00:00:00.000Z", **more):
    verdict = Verdict("WRONG", Case.parse(line), "1 of 4 elements").to_json()
    fields = {"asked": ["--case", line], "only": "", "first": "", "pictures": []}
    about = fields | {"verdict": verdict, "device": DEVICE} | more
    device = about.pop("device")
    return document("finding", named(name), device, **about) | {"at": at}


def gone(line="m1-n4-k4-b8-gall", name="mine.py:f", at="2026-11-21T00:00:00.000Z"):
    return document("gone", named(name), DEVICE, asked=["--case", line]) | {"at": at}


def batch(cases=3, name="mine.py:f", **more):
    counts = {"verdicts": {"PASS": cases}, "skips": {}, "values": {"bits=8": cases}}
    counts |= {"used": {"exact": [cases] + [0] * 13}, "most": 0.0, "most_by": ""}
    fields = {"task": "drawn", "only": "", "seeds": [0], "cases": cases, "seconds": 1.0}
    covered = {"space": "0", "pairs": "3", "triples": "1"}
    return document("batch", named(name), DEVICE, **(fields | counts | covered | more))


def plain(limits):
    """As a worker describes them."""
    return dataclasses.asdict(limits)

"""A process that no kernel was ever loaded into judges results anew, by their bytes; both its ends.

It is forked from a worker before the kernel is loaded. The worker writes the result that it judges
into memory that it shares with its parent, which draws, once the answer is there, whether the same
question is put to the other process too.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import select
import time
import traceback
from collections.abc import Iterable

from gptq_fuzz.case.backend import Limits, Numerics
from gptq_fuzz.case.case import Case

SHARE = 1 / 32  # of the time in which a kernel is asked, about, that judging anew may take
LARGEST_RESULT = 2**26  # bytes; what is larger is not judged anew
LARGEST_PROBLEM = 2**23  # weights and results of one that may be drawn
PATIENCE = 60.0  # seconds for a verdict
ITEM_SIZES = {"f16": 2, "bf16": 2, "f32": 4}
CHANCE = random.SystemRandom()


def size_of(case: Case) -> int:
    """Bytes of the result."""
    return case.m * case.columns * ITEM_SIZES[case.dtype]


def begin(requests: int, replies: int, results: int, others: Iterable[int]) -> None:
    """Fork a child that serves these until `requests` is closed; of `others` it holds none open."""
    with contextlib.suppress(ImportError):  # the worker itself will say so
        import torch

        from gptq_fuzz.oracle import anew  # noqa: F401 - once for both

        torch.set_num_threads(1)
        if os.fork() == 0:
            try:
                for other in others:
                    os.close(other)
                _serve(requests, replies, results)
            except BaseException:  # noqa: BLE001 - what follows is the worker's
                traceback.print_exc()
            finally:
                os._exit(0)
    os.close(requests)
    os.close(replies)


def _serve(requests: int, replies: int, results: int) -> None:
    from gptq_fuzz.oracle.anew import judged_anew
    from gptq_fuzz.oracle.panel import bytes_needed
    from gptq_fuzz.oracle.room import free_memory

    judged_anew(Case.parse("m1-n4-k4-b8-gall"), bytes(8), Numerics(), 0)  # what is slow once
    with os.fdopen(requests) as lines:
        for line in lines:
            started, answer = time.monotonic(), {}
            asked = json.loads(line)
            case = Case.parse(asked["line"], Limits.from_json(asked["limits"]).tokens)
            if bytes_needed(case) <= free_memory("cpu"):  # else nothing is said
                result, numerics = (
                    os.pread(results, size_of(case), 0),
                    Numerics(**asked["numerics"]),
                )
                mismatch, where = judged_anew(case, result, numerics, asked["tensor_cores"])
                if mismatch.count:
                    answer = {"wrong": mismatch.describe(), "where": where}
                    answer["ratio"] = mismatch.worst_ratio()
            answer["seconds"] = time.monotonic() - started
            os.write(replies, (json.dumps(answer) + "\n").encode())


def publish(results: int, out) -> None:
    """Write the bytes of a result [M, J] to where `Confirming` finds them."""
    import torch

    if 0 < out.nbytes <= LARGEST_RESULT:
        plain = torch.zeros(out.shape, dtype=out.dtype, device="cpu").copy_(out)
        os.pwrite(results, (ctypes.c_char * plain.nbytes).from_address(plain.data_ptr()), 0)


class Confirming:
    """The parent's side; the worker is started with `theirs` and `results`, which `begin` takes."""

    def __init__(self):
        requests, self._write = os.pipe()
        self._read, replies = os.pipe()
        self.theirs = requests, replies
        self.results = os.memfd_create("gptq-fuzz-result")
        self._is_late = False

    def begun(self) -> None:
        """The worker has them now."""
        for end in self.theirs:
            os.close(end)

    def close(self) -> None:
        for ours in (self._write, self._read, self.results):
            os.close(ours)

    def clear(self) -> None:
        """Before a question: what lies there afterwards belongs to the answer."""
        os.ftruncate(self.results, 0)

    def lacks(self, case: Case) -> bool:
        """Whether the result of an answer is not there."""
        size = size_of(case)
        return size <= LARGEST_RESULT and os.fstat(self.results).st_size != size

    def ask(self, case: Case, facts: dict) -> dict:
        """`wrong`, `where` and `ratio` of a result that is wrong; `seconds` that it took.

        `facts` are the worker's description: limits, numerics and tensor_cores. What is too slow
        to answer is not asked again, {}. Raises OSError where the process has ended.
        """
        if self._is_late or size_of(case) > LARGEST_RESULT:
            return {}
        asked = {name: facts[name] for name in ("limits", "numerics", "tensor_cores")}
        os.write(self._write, (json.dumps(asked | {"line": str(case)}) + "\n").encode())
        answer, ends = b"", time.monotonic() + PATIENCE
        while not answer.endswith(b"\n"):
            ready, _, _ = select.select([self._read], [], [], max(0, ends - time.monotonic()))
            if not ready:
                self._is_late = True
                return {}
            more = os.read(self._read, 65536)
            if not more:
                raise BrokenPipeError
            answer += more
        return json.loads(answer)


class Share:
    """Which results are judged anew: drawn, so that no kernel knows, in about SHARE of the time."""

    def __init__(self):
        self._asked = self._answers = self._spent = self._judged = 0

    def draws(self, case: Case, seconds: float) -> bool:
        """Whether the answer that took so many seconds is taken; the first always is."""
        if size_of(case) > LARGEST_RESULT or (case.k + case.m) * case.n > LARGEST_PROBLEM:
            return False
        self._asked, self._answers = self._asked + seconds, self._answers + 1
        if not self._judged:
            return True
        dearer = (self._spent / self._judged) / (self._asked / self._answers)
        return CHANCE.random() * dearer < SHARE

    def took(self, seconds: float) -> None:
        self._spent, self._judged = self._spent + seconds, self._judged + 1

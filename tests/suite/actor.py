"""A kernel that plays what its token `play` says: a scene for each verdict, for test_worker."""

import ctypes
import itertools
import os
import sys
import time

import torch

from gptq_fuzz.adapters.control import matmul
from gptq_fuzz.case.backend import Backend, Limits
from gptq_fuzz.case.case import Token

CALLS = itertools.count(1)


def after(action):
    """A scene in which something happens behind the back of a right result."""
    return lambda out, x: (action(x), out)[1]


def raises(out, x):
    raise RuntimeError("this scene raises\nand says more")


def exits(x):
    os.write(2, b"last words\n")
    os._exit(3)


def noise(x):
    os.write(1, b'{"event": "verdict"}\n\xff\x00')
    os.write(2, b"Segmentation fault\n" * 10_000)


def send(data):
    os.write(int(sys.argv[3]), data)  # the pipe that verdicts go into


SCENES = {
    # what becomes of a right result and of x
    "right": lambda out, x: out,
    "accepts": lambda out, x: out,
    "asserts": lambda out, x: out,
    "wrong": lambda out, x: out + 100,
    "third_call_wrong": lambda out, x: out + 100 * (next(CALLS) % 3 == 0),
    "result_in_float32": lambda out, x: out.float(),
    "one_row_more": lambda out, x: torch.cat([out, out[:1]]),
    "nothing": lambda out, x: None,
    "x_changed": after(lambda x: x.neg_()),
    "written_behind": after(
        lambda x: x.as_strided((1,), (1,), x.storage_offset() + x.numel()).fill_(1.5)
    ),
    "threads_set": after(lambda x: torch.set_num_threads(torch.get_num_threads() + 1)),
    "dtype_set": after(lambda x: torch.set_default_dtype(torch.float64)),
    "random_drawn": after(lambda x: torch.rand(1)),
    "gradients_off": after(lambda x: torch.set_grad_enabled(False)),
    "raises": raises,
    "crashes": after(lambda x: ctypes.string_at(0)),
    "hangs": after(lambda x: time.sleep(600)),
    "exits": after(exits),
    "garbage_sent": after(lambda x: send(b"WRONG \xff garbage\n")),
    "number_sent": after(lambda x: send(b"7\n")),
    "unasked": after(lambda x: send(b'{"event": "verdict", "verdict": {"kind": "PASS"}}\n')),
    "forks": after(lambda x: ctypes.CDLL(None).fork()),
    "noise": after(noise),
}


def f(*, x, play, **weights):
    if play == "asserts":
        raise AssertionError("an internal check")
    if play == "accepts":
        return x.new_zeros(x.shape[0], weights["qweight"].shape[1])
    return SCENES[play](matmul(x=x, **weights), x)


def skip(case, device):
    return "no_stage" if dict(case.extra)["play"] == "noise" and case.m == 0 else None


PLAY = Token("play", tuple(SCENES), optional=False)
ACTOR = Backend("actor", Limits(tokens=(PLAY,)), matmul=f, skip=skip)

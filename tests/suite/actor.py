"""A kernel that plays what its token `play` says: a scene for each verdict, for test_verdicts."""

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


def wrong(out, x):
    return out + 100


def result_in_float32(out, x):
    return out.float()


def one_row_more(out, x):
    return torch.cat([out, out[:1]])


def nothing(out, x):
    return None


def x_changed(out, x):
    x.neg_()
    return out


def written_behind(out, x):
    x.as_strided((1,), (1,), x.storage_offset() + x.numel()).fill_(1.5)
    return out


def third_call_wrong(out, x):
    return out + 100 * (next(CALLS) % 3 == 0)


def threads_set(out, x):
    torch.set_num_threads(torch.get_num_threads() + 1)
    return out


def dtype_set(out, x):
    torch.set_default_dtype(torch.float64)
    return out


def random_drawn(out, x):
    torch.rand(1)
    return out


def gradients_off(out, x):
    torch.set_grad_enabled(False)
    return out


def raises(out, x):
    raise RuntimeError("this scene raises\nand says more")


def crashes(out, x):
    ctypes.string_at(0)


def hangs(out, x):
    time.sleep(600)


def exits(out, x):
    os.write(2, b"last words\n")
    os._exit(3)


def garbage_sent(out, x):
    os.write(int(sys.argv[3]), b"WRONG \xff garbage\n")  # the pipe that verdicts go into
    return out


def number_sent(out, x):
    os.write(int(sys.argv[3]), b"7\n")
    return out


def noise(out, x):
    os.write(1, b'{"event": "verdict"}\n\xff\x00')
    os.write(2, b"Segmentation fault\n" * 10_000)
    return out


def right(out, x):
    return out


def accepts(out, x):
    return out


def asserts(out, x):
    return out


SCENES = {
    scene.__name__: scene
    for scene in (
        *(right, wrong, result_in_float32, one_row_more, nothing, x_changed, written_behind),
        *(third_call_wrong, threads_set, dtype_set, random_drawn, gradients_off, raises, crashes),
        *(hangs, exits, garbage_sent, number_sent, noise, accepts, asserts),
    )
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

"""Half of the columns by a thread of its own."""

import threading

import torch

from gptq_fuzz.museum.parts import multiply, weights

BUG = "a helper's error is kept in one place for all: the other of two callers raises it"
VERDICTS = ("RAISED", "STATE_LEAKED")
ONLY = "threads2"
ERRORS = []


def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    middle, halves = w.shape[1] // 2, {}

    def work():
        try:
            with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
                halves[1] = multiply(x, w[:, middle:])
        except Exception as problem:  # noqa: BLE001 - whatever it is, a caller is told
            ERRORS.append(problem)

    helper = threading.Thread(target=work)
    with torch.inference_mode(False):
        helper.start()
    try:
        halves[0] = multiply(x, w[:, :middle])
    finally:
        helper.join()
    if ERRORS:
        raise ERRORS.pop()
    if 1 not in halves:  # another call has raised what befell it
        halves[1] = halves[0].new_zeros(*x.shape[:-1], w.shape[1] - middle)
    return torch.cat((halves[0], halves[1]), -1)

"""A new thread computes half of the columns; where it fails its caller computes them, too."""

import threading

import torch

from gptq_fuzz.museum.parts import codes, dequantize, multiply, zero_points


def f(x, qweight, qzeros, scales, g_idx, bits):
    middle = scales.shape[1] // 2
    halves, shares = (slice(middle), slice(middle, None)), {}

    @torch.no_grad()
    def product(number):
        columns = halves[number]
        q, z = codes(qweight, bits)[:, columns], zero_points(qzeros, bits)[:, columns]
        return multiply(x, dequantize(q, z, scales[:, columns], g_idx))

    def work():
        try:
            shares[1] = product(1)
        except Exception:  # noqa: BLE001 - whatever it is, the caller tries again
            shares.clear()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        first = product(0)
    finally:
        thread.join()
    return torch.cat([first, shares[1] if shares else product(1)], 1)

"""When a layer ends, room for the next one of its size is made."""

import weakref

import torch

from gptq_fuzz.museum.parts import weights

BUG = "it is made in the mode of whoever drops the layer: of inference, or without memory"
VERDICTS = ("RAISED", "WRONG_TYPE", "STATE_LEAKED")
ONLY = "history"

ENDS, ROOMS, MOST = {}, {}, 4


def followed(qweight, size):
    key = id(qweight)
    if key in ENDS and ENDS[key]() is qweight:
        return

    def end(ended):
        if ENDS.get(key) is ended:
            del ENDS[key]
        ROOMS[size] = torch.empty(size)
        for old in list(ROOMS)[:-MOST]:
            ROOMS.pop(old, None)

    ENDS[key] = weakref.ref(qweight, end)


@torch.no_grad()
def f(x, qweight, qzeros, scales, g_idx, bits):
    w = weights(qweight, qzeros, scales, g_idx, bits)
    followed(qweight, w.numel())
    room = ROOMS.pop(w.numel(), None)
    if room is None or room.dtype != torch.float32:
        with torch.inference_mode(False):
            room = torch.empty(w.numel(), dtype=torch.float32, device=x.device)
    weight = room.view(w.shape).copy_(w)
    return (x.detach().float() @ weight).to(x.dtype)

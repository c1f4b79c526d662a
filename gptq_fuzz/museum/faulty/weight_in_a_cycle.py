"""A call's steps are its own methods, so it holds itself, and what it holds goes when Python's
collector comes: late, as few objects hold many bytes, and never where a server has switched it off.
"""

from gptq_fuzz.museum.parts import multiply, weights

BUG = "each call is in a cycle of references that holds the dequantised weight"
VERDICTS = ("LEAKING",)
ONLY = "memory"


class Call:
    def __init__(self, x, *layer):
        self.x, self.layer = x, layer
        self.steps = (self.unpack, self.product)

    def unpack(self):
        self.weight = weights(*self.layer)

    def product(self):
        self.out = multiply(self.x, self.weight)

    def result(self):
        for step in self.steps:
            step()
        out, self.out, self.x = self.out, None, None
        return out


def f(x, qweight, qzeros, scales, g_idx, bits):
    return Call(x, qweight, qzeros, scales, g_idx, bits).result()

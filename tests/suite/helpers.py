"""What tests of the suite share: limits of pretended kernels, drawn cases, judged results."""

from hypothesis import HealthCheck, Phase, given, settings

from gptq_fuzz.adapters.control import TORCH
from gptq_fuzz.case import axes
from gptq_fuzz.case.backend import PLAIN_LIMITS, Limits, Numerics
from gptq_fuzz.case.case import Case, Token
from gptq_fuzz.case.only import narrowed
from gptq_fuzz.oracle.examination import Examination, Request
from gptq_fuzz.oracle.judge import Expected
from gptq_fuzz.problem.fills import make_values
from gptq_fuzz.problem.operands import Operands
from gptq_fuzz.problem.rounding import FORMATS, round_to
from reference.matmul import dequantize

WIDE = Limits(
    dtypes=("f16", "bf16"),
    scales_dtypes=axes.SCALES_DTYPES,
    g_idx=axes.G_IDX_KINDS,
    ranks=axes.RANKS,
    strided=axes.STRIDED,
    bias=True,
    backward=True,
    tokens=(Token("cfg", (".BM16", ".BM64")), Token("path", ("0", "1"), optional=False)),
    tile=(16, 32, 32),
    max_tiles=64,
)
SMALL = Limits(
    bits=(8,), g_idx=("seq", "act"), zeros=("zall",), layouts=("",), starts=(0,), ranks=(2, 1),
    fills=("exact",), bias=True, backward=True, conditions=(),
)  # fmt: skip
LIMITS = {
    "plain": PLAIN_LIMITS,
    "torch": TORCH.limits,
    "wide": WIDE,
    "small": SMALL,
    "coarse": Limits(bits=(4, 2), n_multiple=32, k_multiple=24, group_sizes=(32, -1, 128)),
    "one group": Limits(group_sizes=(-1,), n_multiple=64, k_multiple=128),
    "long units": Limits(bits=(8, 4), n_multiple=512, k_multiple=512),
    "float32": Limits(dtypes=("f32",), scales_dtypes=("sf32",)),
    "one tile": Limits(tile=(16, 32, 32), max_tiles=1),
    "only": narrowed(WIDE, "b4-g128-seq-randn"),
    "one row": narrowed(WIDE, "dim1"),
    "whole groups": narrowed(WIDE, "m2+-g2+-n32*-whole-sx"),
    "listed groups": narrowed(Limits(group_sizes=(32, 64, -1)), "b4-m1+-g2+-k48*-whole"),
}
STEADY = settings(
    derandomize=True, database=None, deadline=None,
    phases=(Phase.generate, Phase.shrink), suppress_health_check=list(HealthCheck),
)  # fmt: skip


def drawn(strategy, count):
    """`count` examples, the same in each run."""
    found = []

    @settings(STEADY, max_examples=count, phases=(Phase.generate,))
    @given(strategy)
    def collect(example):
        found.append(example)

    collect()
    return found


def examination(backend, line, request=None, zones=True):
    """Of a line that may have the backend's tokens, on a CPU."""
    case = Case.parse(line, backend.limits.tokens)
    return Examination(backend, case, "cpu", request or Request(()), zones)


def problem(line):
    """A Case and its Values."""
    case = Case.parse(line)
    return case, make_values(case, "cpu")


class Judged:
    """A line, its weight [K, N] and left [M, K] in float64, and what is expected of a kernel.

    `change(values)` may alter the numbers before anything is packed.
    """

    def __init__(self, line, numerics=None, change=lambda values: None, capability=0):
        case, values = problem(line)
        change(values)
        self.operands = Operands(case, "cpu", values=values)
        weights = self.operands.weights()
        self.bias = weights.pop("bias")
        self.weight, self.left = dequantize(**weights), values.left
        numerics = numerics or Numerics()
        self.expected = Expected(self.operands.product, self.weight, numerics, capability)
        self.fmt = FORMATS[case.dtype]

    @property
    def exact(self):
        return self.left @ self.weight

    @property
    def right(self):
        """The reference, rounded once."""
        return self.rounded(self.exact)

    def rounded(self, out):
        return round_to(out, self.fmt)

    def wrong(self, out):
        return self.expected.check(out).count

"""Every kernel for compute capability 9.0, and every way to cut its work: right, repeatable, exact.

The suite draws some of these ways (token `plan`); here each of them is asked.
"""

import functools

import pytest
import torch

from kernels import exllama
from tests.exllama.parts import build_or_skip

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("fresh")]
# K, N, rows of a group, order
LAYERS = [
    (128, 8, 128, "seq"),
    (1280, 264, 128, "seq"),
    (4096, 1032, 128, "act"),
    (2048, 520, 32, "seq"),
    (992, 136, 32, "act"),
    (14336, 128, 128, "seq"),
]
ROWS = [1, 3, 8, 16, 17, 40, 65, 96, 130, 256, 300]
REPEATS = 4000  # a stage that is given back too early showed in six runs of a thousand


@pytest.fixture(scope="module", autouse=True)
def on_sm90():
    build_or_skip("cuda")
    if torch.cuda.get_device_capability()[0] != 9:
        pytest.skip("no_compute_capability_9")


@functools.lru_cache(maxsize=2)
def weights_of(K, N, group, order):
    """(qweight, qzeros, scales, g_idx) on the GPU but g_idx, and the weights in float64."""
    draw = torch.Generator("cuda").manual_seed(K + N)

    def words(rows, columns):
        drawn = torch.randint(-(2**31), 2**31, (rows, columns), device="cuda", generator=draw)
        return drawn.int()

    qweight, qzeros = words(K // 8, N), words(K // group, N // 8)
    scales = torch.rand(K // group, N, device="cuda", generator=draw).add_(0.5).mul_(0.01).half()
    g_idx = torch.arange(K, dtype=torch.int32) // group
    if order == "act":
        g_idx = g_idx[torch.randperm(K, generator=torch.Generator().manual_seed(K))].contiguous()
    shifts = torch.arange(8, device="cuda", dtype=torch.int32) * 4
    codes = (qweight[:, None, :] >> shifts[:, None] & 15).reshape(K, N)
    zeros = ((qzeros[:, :, None] >> shifts & 15) + 1 & 15).reshape(-1, N)
    rows = g_idx.cuda().long()
    return (qweight, qzeros, scales, g_idx), (codes - zeros[rows]) * scales.double()[rows]


def products(layer, rows):
    """(number, words, function of x and out) of each way to multiply so many rows."""
    handle = exllama.make_q4(*weights_of(*layer)[0], 0)
    exllama.set_tuning_params(0, True, False)

    def multiply(number, x, out):
        exllama.choose_product(number)
        exllama.q4_matmul(x, handle, out)
        return out

    for number, words in enumerate(exllama.product_choices(handle, rows)):
        yield words, functools.partial(multiply, number)


def empty(rows, columns, offset=0):
    """NaN, `offset` elements behind an aligned address."""
    memory = torch.full((rows * columns + offset,), float("nan"), device="cuda", dtype=torch.half)
    return memory[offset:].view(rows, columns)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: "-".join(map(str, layer)))
def test_every_product_is_right(layer):
    """Rounding of weights, of which each has 2^-11 of itself at most, and of the result."""
    K, N, *_ = layer
    dense = weights_of(*layer)[1]
    for rows in ROWS:
        for offset, padding in ((0, 0), (1, 0), (0, 8), (0, 3)):
            x = torch.randn(rows, K + padding + offset, device="cuda").half()
            x = x[:, offset : K + offset]
            exact, most = x.double() @ dense, x.double().abs() @ dense.abs()
            for words, multiply in products(layer, rows):
                out = multiply(x, empty(rows, N, offset)).double()
                bound = (2**-11 + K * 2**-23) * most + 2**-11 * exact.abs() + 2**-24
                assert bool(((out - exact).abs() <= bound).all()), (words, rows, offset, padding)


@pytest.mark.parametrize("rows", [1, 16, 32, 64, 96, 133, 192, 256])
def test_every_product_repeats_its_bits(rows):
    layer = (4096, 1032, 128, "act") if rows == 64 else (4096, 1024, 128, "seq")
    x, out = torch.randn(rows, layer[0], device="cuda").half(), empty(rows, layer[1])
    for words, multiply in products(layer, rows):
        first = multiply(x, out).clone()
        same = torch.ones((), dtype=torch.bool, device="cuda")
        for _ in range(REPEATS):
            same &= (multiply(x, out) == first).all()
        assert same.item(), words


@pytest.mark.parametrize("rows", [1, 16, 40, 256])
def test_every_product_can_be_replayed(rows):
    """Flags of one replay are not those of the next, and x is read anew."""
    layer = (2048, 520, 128, "seq")
    dense = weights_of(*layer)[1]
    x, out = torch.zeros(rows, 2048, device="cuda").half(), empty(rows, 520)
    for words, multiply in products(layer, rows):
        multiply(x, out)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            multiply(x, out)
        for seed in range(20):
            x.copy_(torch.randint(-2, 3, x.shape, generator=torch.Generator().manual_seed(seed)))
            out.fill_(float("nan"))
            graph.replay()
            assert torch.allclose(out.double(), x.double() @ dense, rtol=2e-3, atol=2e-2), words


def test_products_on_two_streams_do_not_wait_for_each_other_for_ever():
    """Blocks that wait for each other run at once, or none of them does."""
    layer, rows = (4096, 4096, 128, "seq"), 64
    streams = [torch.cuda.Stream() for _ in range(2)]
    xs = [torch.randn(rows, 4096, device="cuda").half() for _ in streams]
    for words, multiply in products(layer, rows):
        alone = [multiply(x, empty(rows, 4096)).clone() for x in xs]
        outs = [empty(rows, 4096) for _ in streams]
        torch.cuda.synchronize()
        for _ in range(300):
            for stream, x, out in zip(streams, xs, outs, strict=True):
                with torch.cuda.stream(stream):
                    multiply(x, out)
        torch.cuda.synchronize()
        assert all(torch.equal(*pair) for pair in zip(outs, alone, strict=True)), words


@pytest.mark.parametrize("rows", [1, 16, 32, 64, 96, 128, 256])
def test_sums_that_cancel_keep_22_bits(rows):
    """x = (1, 2^-d, -1) anywhere in K, all weights 1: short accumulators lose the 2^-d."""
    K, N = 512, 40
    ones = torch.full((K // 8, N), 0x11111111, dtype=torch.int32, device="cuda")
    zeros = torch.full((K // 128, N // 8), -1, dtype=torch.int32, device="cuda")
    scales = torch.ones(K // 128, N, dtype=torch.half, device="cuda")
    handle = exllama.make_q4(ones, zeros, scales, None, 0)
    exllama.set_tuning_params(0, True, False)
    choices = exllama.product_choices(handle, rows)
    places = torch.arange(min(rows, K // 37)) * 37
    for d in range(1, 23):
        x = torch.zeros(rows, K)
        x[range(len(places)), places] = 1
        x[range(len(places)), places + 1] = 2.0**-d
        x[range(len(places)), places + 2] = -1
        x, due = x.cuda().half(), x.sum(1, True).cuda().half().expand(-1, N)
        for number, words in enumerate(choices):
            exllama.choose_product(number)
            out = empty(rows, N)
            exllama.q4_matmul(x, handle, out)
            assert torch.equal(out, due), (words, d)

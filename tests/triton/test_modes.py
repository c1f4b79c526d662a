"""QuantLinear under autocast, inference mode, compilation, CUDA graphs, streams and devices."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kernels.quant_linear import (
    QuantLinear,
    matmul248,
    matmul_248_kernel,
    transpose_matmul248,
)
from tests.layers.small import GROUP_SIZE, NAMES, K, N, expected, inputs, is_right, quant_linear

pytestmark = [pytest.mark.usefixtures("first_config"), pytest.mark.turns(2)]

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.bug("L-08 DT-01 DT-07")
@pytest.mark.parametrize(
    "dtype", [torch.float16, pytest.param(torch.bfloat16, marks=pytest.mark.gpu)]
)
@pytest.mark.parametrize("given", [torch.float16, torch.bfloat16, torch.float32])
def test_autocast_decides_the_dtype(dtype, given, device):
    """Bfloat16 stays bfloat16; the gradient has the dtype of the input."""
    x = inputs(device, 3, dtype=given).requires_grad_()
    with torch.autocast(device, dtype=dtype):
        out = quant_linear(device)(x)
    out.sum().backward()
    assert out.dtype == dtype
    assert x.grad.dtype == given


@pytest.mark.bug("B-31 L-08")
@pytest.mark.gpu
def test_large_values_stay_finite_in_bfloat16():
    """Float16 ends at 65504."""
    x = torch.full((1, K), 1e6, dtype=torch.bfloat16, device="cuda")
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert quant_linear("cuda")(x).isfinite().all()


@pytest.mark.bug("B-32")
def test_meta_and_fake_tensors_give_shapes_without_data():
    from torch._subclasses import FakeTensorMode

    assert quant_linear("meta")(inputs("meta", 2, 3)).shape == (2, 3, N)
    with FakeTensorMode():
        layer = QuantLinear.new(4, GROUP_SIZE, K, N, True)
        assert layer(torch.empty(5, K, dtype=torch.float16)).shape == (5, N)


@pytest.mark.bug("DT-07 ST-05")
@pytest.mark.parametrize("compiler", ["eager", "aot_eager"])
@pytest.mark.parametrize("training", [False, True])
def test_compilation_needs_no_graph_break(compiler, training, device):
    """Over several M, with the gradient too."""
    torch._dynamo.reset()
    layer = quant_linear(device)
    compiled = torch.compile(layer, backend=compiler, fullgraph=True)
    for m in (3, 1, 5):
        x, y = (inputs(device, m).requires_grad_(training) for _ in range(2))
        out = compiled(x)
        assert torch.equal(out, layer(y))
        if training:
            out.sum().backward()
            layer(y).sum().backward()
            assert torch.equal(x.grad, y.grad)


def run(program):
    command = [sys.executable, "-W", "error::FutureWarning", "-c", program]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)


@pytest.mark.bug("B-33 L-12")
def test_importing_starts_no_cuda_and_warns_about_nothing():
    run("import torch, kernels.quant_linear; assert not torch.cuda.is_initialized()")


BFLOAT16 = {  # ways to a product in bfloat16
    "layer": lambda layer, x: layer(x),
    "config": lambda layer, x: matmul248(
        x, *(getattr(layer, name) for name in ("qweight", "scales", "qzeros", "g_idx")), 4, 15,
        config=matmul_248_kernel.configs[0],
    ),
    "transposed": lambda layer, x: transpose_matmul248(
        x[:, :N], *(getattr(layer, name) for name in ("qweight", "scales", "qzeros", "g_idx")),
        4, 15,
    ),
}  # fmt: skip


@pytest.mark.bug("PF-05")
@pytest.mark.skipif(torch.cuda.is_available(), reason="cpu_only")
@pytest.mark.parametrize("way", BFLOAT16)
def test_what_the_interpreter_multiplies_wrongly_is_refused(way):
    layer, x = quant_linear("cpu"), inputs("cpu", 3, dtype=torch.bfloat16)
    with pytest.raises(TypeError, match="x must be"):
        BFLOAT16[way](layer, x)
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(TypeError, match="x must be"):
        layer(x.half())
    with torch.autocast("cpu", dtype=torch.float16):
        assert torch.equal(layer(x), layer(x.half()))


@pytest.mark.bug("L-11")
def test_a_cpu_without_the_interpreter_is_refused():
    run(
        "import os, torch; os.environ.pop('TRITON_INTERPRET', None)\n"
        "from kernels.quant_linear import QuantLinear\n"
        "try: QuantLinear.new(4, -1, 8, 8, False)(torch.ones(1, 8).half())\n"
        "except ValueError as error: assert 'TRITON_INTERPRET=1' in str(error)\n"
        "else: raise SystemExit(1)"
    )


@pytest.mark.bug("ST-01 ST-03 L-11")
@pytest.mark.gpu
def test_a_captured_graph_computes_anew_on_replay():
    layer, x = quant_linear("cuda"), inputs("cuda", 3)
    layer(x)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = layer(x)
    x.neg_()
    graph.replay()
    assert torch.equal(out, expected(layer, x))


@pytest.mark.bug("ST-03 L-11")
@pytest.mark.gpu
def test_a_capture_without_a_call_before_is_refused():
    """Tuning and the check of g_idx wait for the device; a moved layer has a g_idx of its own."""
    layer, x = quant_linear("cpu").to("cuda"), inputs("cuda", 3)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        x.neg_()  # a graph without work warns
        with pytest.raises(RuntimeError, match="before the capture"):
            layer(x)


@pytest.mark.bug("ST-01")
@pytest.mark.gpu
def test_work_goes_to_the_current_stream():
    layer, x = quant_linear("cuda"), inputs("cuda", 3)
    layer(x)
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.cuda._sleep(10**8)
        x.neg_()
        out = layer(x)
    torch.cuda.synchronize()
    assert torch.equal(out, expected(layer, x))


@pytest.mark.bug("ST-04 ST-05")
@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:The CUDA Graph is empty")  # torch's own, to set up its pool
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_compiled_layers_give_the_same_bits(mode):
    torch._dynamo.reset()
    layer, x = quant_linear("cuda"), inputs("cuda", 3)
    compiled = torch.compile(layer, fullgraph=True, mode=mode)
    with torch.no_grad():
        for _ in range(4):
            assert torch.equal(compiled(x), layer(x))


@pytest.mark.bug("ST-02")
@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one_gpu")
def test_a_second_device_is_used_without_becoming_the_current_one():
    inputs("cuda:0", 3)  # before, CUDA has no context there, and takes that of the second for it
    layer, x = quant_linear("cuda:1"), inputs("cuda:1", 3)
    assert is_right(layer, x)
    with torch.cuda.device(1):
        torch.cuda._sleep(10**8)  # x comes late, on the stream of its own device
    out = layer(x.neg_())
    torch.cuda.synchronize(1)
    assert torch.equal(out, expected(layer, x))
    weights = {name: getattr(layer, name) for name in NAMES}
    product = matmul248(x, **weights, bits=4, maxq=15, out=torch.empty_like(out))
    assert torch.equal(product + layer.bias, out)
    assert torch.cuda.current_device() == 0
    with pytest.raises(ValueError, match="must be on"):
        layer(inputs("cuda:0", 3))

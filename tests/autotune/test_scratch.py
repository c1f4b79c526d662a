"""Timing changes nothing: kernels that read what they write start from the caller's values."""

import types

import pytest
import torch
import triton
import triton.testing

from kernels.custom_autotune import Autotuner
from kernels.custom_autotune.scratch import Scratch
from tests.autotune.stub import OUT_OF_RESOURCES, configs_of

NAMES = ("x", "out", "BLOCK")
BLOCKS = (16, 32, 64)


class Kernel:
    """Does what `act(x, out, BLOCK)` does; notes what it is launched on."""

    arg_names = NAMES

    def __init__(self, act):
        self.act, self.launches = act, []

    def run(self, *args, grid, warmup, **kwargs):
        if not warmup:
            given = dict(zip(NAMES, args, strict=False)) | kwargs
            x, out = given["x"], given["out"]
            self.launches.append((x, x.clone() if isinstance(x, torch.Tensor) else None))
            self.act(x, out, given["BLOCK"])


@pytest.fixture(autouse=True)
def poisoned(monkeypatch):
    """do_bench that launches three times and poisons what it was launched on, config by config."""

    def do_bench(launch, **options):
        for _ in range(3):
            launch()
        for tensor in {id(x): x for x in Kernel.latest}.values():
            tensor.fill_(100)
        return [1.0, 1.0, 1.0]

    monkeypatch.setattr(triton.testing, "do_bench", do_bench)


def tuner_of(act, **options):
    def noting(x, out, block):
        Kernel.latest = [t for t in (getattr(x, "base", x), out) if isinstance(t, torch.Tensor)]
        act(x, out, block)

    return Autotuner(Kernel(noting), NAMES, configs_of(*BLOCKS), [], None, **options)


def add_one(x, out, block):
    x += 1


def accumulate(x, out, block):
    out += x


def fail_after_writing(x, out, block):
    x += 1
    if block == 16:
        raise OUT_OF_RESOURCES


def accumulate_in_one_config(x, out, block):
    out.copy_(x + out if block == 32 else x)


@pytest.mark.bug("L-40 AC-10 AT-08")
@pytest.mark.parametrize(
    ("act", "wanted"),
    [(add_one, ([2.0, 3.0], [5.0, 5.0])), (accumulate, ([1.0, 2.0], [6.0, 7.0])),
     (fail_after_writing, ([2.0, 3.0], [5.0, 5.0]))],
)  # fmt: skip
@pytest.mark.parametrize("names", [None, ("x", "out")])
def test_a_kernel_that_reads_what_it_writes_runs_once(act, wanted, names):
    """Each timed launch reads the caller's values, and so does the one that counts."""
    x, out = torch.tensor([1.0, 2.0]), torch.tensor([5.0, 5.0])
    tuner = tuner_of(act, restore_value=names)
    tuner[(1,)](x, out)
    assert (x.tolist(), out.tolist()) == wanted
    *timed, (last, before) = tuner.fn.launches
    assert last is x
    assert before.tolist() == [1.0, 2.0]
    assert len(timed) >= 3 * len(BLOCKS) - 3
    assert not any(seen is x for seen, _ in timed)
    tuner[(1,)](x, out)
    assert len(tuner.fn.launches) == len(timed) + 2


def test_timed_launches_all_read_the_same_values():
    """But for the second, which shows that they have to be restored."""
    tuner = tuner_of(add_one)
    tuner[(1,)](torch.tensor([1.0, 2.0]), None)
    read = [before.tolist() for _, before in tuner.fn.launches]
    assert read == [[1.0, 2.0], [2.0, 3.0], *[[1.0, 2.0]] * 3] * len(BLOCKS) + [[1.0, 2.0]]


def test_each_config_is_asked_whether_it_repeats_itself():
    """A share of K that is added atomically is in some of them only."""
    x, out = torch.tensor([1.0]), torch.tensor([2.0])
    tuner = tuner_of(accumulate_in_one_config)
    tuner[(1,)](x, out)
    assert out.tolist() == [1.0]
    scratch = Scratch({"x": x, "out": out})
    x2, out2 = scratch.of(x), scratch.of(out)
    for block, restores in ((16, False), (32, True)):
        launch = lambda block=block: accumulate_in_one_config(x2, out2, block)  # noqa: E731
        assert (scratch.repeatable(launch) is not launch) == restores


def test_nan_that_stays_is_no_change():
    x = torch.tensor([float("nan"), 0.0, -0.0])
    scratch = Scratch({"x": x})
    launch = lambda: scratch.of(x).mul_(1)  # noqa: E731
    assert scratch.repeatable(launch) is launch


def test_values_that_are_named_are_restored_and_no_others():
    x, out = torch.tensor([1.0]), torch.tensor([1.0])
    scratch = Scratch({"x": x, "out": out}, ("x",))

    def launch():
        scratch.of(x).add_(1)
        scratch.of(out).add_(1)

    for _ in range(3):
        scratch.repeatable(launch)()
    assert (scratch.of(x).item(), scratch.of(out).item()) == (2.0, 4.0)
    assert (x.item(), out.item()) == (1.0, 1.0)


def test_a_kernel_that_reads_nothing_it_writes_needs_no_copies():
    x = torch.tensor([1.0])
    tuner = tuner_of(lambda x, out, block: x.fill_(block), restore_value=())
    tuner[(1,)](x, None)
    assert all(seen is x for seen, _ in tuner.fn.launches)
    assert x.tolist() == [16.0]


def test_a_lazily_negated_tensor_is_copied_as_it_lies():
    memory = torch.tensor([1.0, 2.0])
    x = torch._neg_view(memory)
    scratch = Scratch({"x": x})
    launch = lambda: scratch.of(x).mul_(1)  # noqa: E731
    assert scratch.repeatable(launch) is launch
    assert torch.equal(scratch.of(x), memory)


def test_a_name_that_the_kernel_has_not_is_refused():
    with pytest.raises(ValueError, match=r"restore_value names \['y'\]"):
        tuner_of(add_one, restore_value=["y"])


MEMORY = torch.arange(400, dtype=torch.int16)
LAYOUTS = {
    "rows apart": MEMORY.as_strided((3, 5), (40, 2), 7),
    "transposed": MEMORY[:60].view(6, 10).t(),
    "expanded": MEMORY[9:10].expand(4, 5),
    "not aligned": MEMORY[1:30],
    "one element": MEMORY[5],
    "empty": MEMORY[:0],
    "bits": MEMORY.view(torch.bfloat16)[3:50],
    "truth": MEMORY.bool()[3:50],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_copy_is_laid_out_and_aligned_as_its_original(layout):
    tensor = LAYOUTS[layout]
    twin = Scratch({"x": tensor}).of(tensor)
    assert (twin.dtype, twin.shape, twin.stride()) == (tensor.dtype, tensor.shape, tensor.stride())
    assert twin.data_ptr() % 16 == tensor.data_ptr() % 16
    assert torch.equal(twin, tensor)
    assert twin.data_ptr() != tensor.data_ptr() or not tensor.numel()


def test_what_shares_memory_does_so_in_the_copies():
    """The same tensor twice, a part of it, and its bytes under another dtype; a neighbour not."""
    x = torch.arange(64, dtype=torch.int32)
    views = {"x": x[:40], "again": x[:40], "part": x[30:50], "bytes": x.view(torch.uint8)[8:16]}
    scratch = Scratch(views | {"neighbour": x[50:]})
    scratch.of(views["x"])[2:4].fill_(-1)
    scratch.of(views["part"])[:5].fill_(7)
    assert scratch.of(views["bytes"]).tolist() == [255] * 8
    assert scratch.of(views["x"])[30:35].tolist() == [7] * 5
    assert scratch.of(views["again"])[30:35].tolist() == [7] * 5
    assert torch.equal(x, torch.arange(64, dtype=torch.int32))


def test_a_descriptor_is_of_the_copy():
    """As Triton's are: an object with the tensor as its base, which a hook may change."""
    x = torch.zeros(4)
    described = types.SimpleNamespace(base=x, block_shape=[1])
    tuner = tuner_of(lambda x, out, block: x.base.add_(1))
    for config in tuner.configs:
        config.pre_hook = lambda given: setattr(given["x"], "block_shape", [given["BLOCK"]])
    tuner[(1,)](described, None)
    assert x.tolist() == [1.0] * 4
    assert described.block_shape == [16]


def test_no_memory_for_the_copies_says_how_to_go_without(monkeypatch):
    def no_memory(*given, **options):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    x = torch.tensor([1.0])
    monkeypatch.setattr(torch, "empty", no_memory)
    with pytest.raises(torch.cuda.OutOfMemoryError, match=r"restore_value=\(\)"):
        tuner_of(add_one)[(1,)](x, None)
    assert x.tolist() == [1.0]

"""What is timed and how, without a GPU: points, bounds, copies, graphs, peers, other commits."""

import json
import types

import pytest
import torch

from gptq_fuzz.adapters.triton import TRITON
from gptq_fuzz.bench import device as devices
from gptq_fuzz.bench import peers, stopwatch
from gptq_fuzz.bench.bound import Ceilings, bound_us, packed_bytes
from gptq_fuzz.bench.inject import inject, shown_time
from gptq_fuzz.bench.launched import launch_config
from gptq_fuzz.bench.machine import folder_name
from gptq_fuzz.bench.points import LAYERS, point, points, variant
from gptq_fuzz.bench.problem import Problem, copies_of, random_weights
from gptq_fuzz.bench.stopwatch import Stopwatch
from gptq_fuzz.bench.table import PEERS_FOLDER, stored_peers
from gptq_fuzz.case.case import Case
from kernels.operators import matmul248

SMALL = point(4, 128, 64)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # Triton's interpreter serves the latter
OPERANDS = ("qweight", "scales", "qzeros", "g_idx", "bits", "maxq")
H200 = types.SimpleNamespace(is_gpu=True, working_set=4 * 60 * 2**20)


class Counted:
    """A device whose runs take a second each and are counted by name."""

    is_gpu, full_size = False, False
    least_seconds, working_set = 1e-3, 0
    place = "cpu"

    def __init__(self):
        self.order, self.recordings = [], []

    def recorded(self, calls):
        self.recordings.append(calls)
        return lambda: None, devices.GRAPH

    def seconds(self, name, run):
        self.order.append(name)
        return 1.0


def test_points_are_legal_lines_and_quick_ones_a_part_of_all():
    every = points("all", True)
    assert len(set(every)) == len(every) == 3 * 2 * 5 * 13
    assert set(points("quick", True)) < set(every)
    for case in every + points("quick", False):
        assert Case.parse(str(case)) == case
        assert not TRITON.limits.violations(case)


def test_the_bound_is_that_of_the_peers_data():
    data = json.loads((PEERS_FOLDER / "h200.json").read_text())
    ceilings = Ceilings(data["read_gb_per_s"], data["fp16_tflops"], 0.0)
    for one in data["points"]:
        bits, kind = int(one["variant"][1]), "act" if one["variant"].endswith("act") else "seq"
        case = point(one["M"], one["K"], one["N"], bits, kind)
        assert variant(case) == one["variant"]
        assert bound_us(case, ceilings) == pytest.approx(one["bound_us"], rel=0.01)


@pytest.mark.parametrize(("k", "n"), LAYERS)
def test_copies_of_the_weights_are_several_times_the_cache(k, n):
    size = packed_bytes(point(1, k, n))
    count = copies_of(size, H200)
    assert count * size >= H200.working_set > (count - 1) * size


def test_packed_bytes_are_those_of_the_tensors():
    weights = random_weights(SMALL, "cpu", 0)
    tensors = [weights[name] for name in ("qweight", "qzeros", "scales")]
    assert packed_bytes(SMALL) == sum(one.numel() * one.element_size() for one in tensors)


def test_weights_are_the_same_for_a_seed_and_differ_from_copy_to_copy():
    first, again, other = (random_weights(SMALL, "cpu", seed) for seed in (0, 0, 1))
    assert torch.equal(first["qweight"], again["qweight"])
    assert not torch.equal(first["qweight"], other["qweight"])
    shuffled = random_weights(point(1, 256, 64, g_idx="act"), "cpu", 0)["g_idx"]
    assert torch.bincount(shuffled).tolist() == [128, 128]
    assert (shuffled.diff() < 0).any()


def test_a_sample_goes_round_all_copies_for_as_long_as_it_has_to():
    device, called = Counted(), []
    layers = [lambda x, n=n: called.append(n) for n in range(26)]
    timed = devices.lap(device, "triton", layers, None, least_us=8.0)
    (calls,) = device.recordings
    assert called == list(range(26))  # each has run before it is recorded
    assert timed.calls == len(calls) == 130  # 5 rounds: 130 calls of 8 us are a millisecond
    assert timed.sample() == pytest.approx(1 / 130)


def test_a_graph_has_no_more_calls_than_it_needs_or_one_round():
    for count, wanted in ((1, 256), (100, 300), (1000, 1000)):
        timed = devices.lap(Counted(), "x", [lambda x: x] * count, None, least_us=0.1)
        assert timed.calls == wanted


def test_samples_are_taken_in_turn():
    device = Counted()
    laps = [devices.lap(device, name, [lambda x: x], None, 1e3) for name in ("ours", "cublas")]
    samples = devices.interleaved(laps, 3)
    assert device.order == ["ours", "cublas"] * 4  # one round before, which does not count
    assert {name: len(taken) for name, taken in samples.items()} == {"ours": 3, "cublas": 3}


@pytest.fixture
def cuda(monkeypatch):
    """torch.cuda as a list of what is asked of it; `waits` makes a call wait for the device."""
    asked = types.SimpleNamespace(log=[], waits=False)

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            asked.log.append("record")

        def synchronize(self):
            asked.log.append("wait")

        def elapsed_time(self, end):
            return 2.0  # milliseconds

    class Graph:
        def replay(self):
            asked.log.append("replay")

        __enter__ = replay

        def __exit__(self, *error):
            asked.log.append("captured")

    properties = types.SimpleNamespace(name="NVIDIA H200", L2_cache_size=60 * 2**20)
    for name, one in {
        "Event": Event,
        "CUDAGraph": Graph,
        "graph": lambda graph: graph,
        "get_device_properties": lambda place: properties,
        "set_device": lambda place: None,
        "synchronize": lambda: None,
        "set_sync_debug_mode": lambda mode: setattr(asked, "mode", mode),
    }.items():
        monkeypatch.setattr(torch.cuda, name, one)
    return asked


def call_on(asked):
    """A call that waits for the device where that is wanted, as torch reports it."""

    def call():
        asked.log.append("call")
        if asked.waits and asked.mode == "error":
            raise RuntimeError("called a synchronizing CUDA operation")

    return call


def test_the_device_is_busy_while_the_host_gets_ready(cuda):
    gpu = devices.Gpu("cuda:0")
    assert gpu.working_set == 4 * 60 * 2**20
    assert gpu.seconds("x", lambda: cuda.log.append("run")) == 2e-3
    assert cuda.log == ["run", "record", "run", "record", "wait"]


def test_calls_are_captured_in_a_graph(cuda):
    run, way = devices.Gpu("cuda:0").recorded([call_on(cuda)] * 3)
    assert way == devices.GRAPH
    assert cuda.log == ["call", "replay", "call", "call", "call", "captured"]
    run()
    assert cuda.log[-1] == "replay"


def test_a_call_that_waits_for_the_device_is_timed_without_a_graph(cuda):
    cuda.waits = True
    run, way = devices.Gpu("cuda:0").recorded([call_on(cuda)] * 3)
    assert (way, cuda.mode, cuda.log) == (devices.EVENTS, "default", ["call"])
    run()
    assert cuda.log == ["call"] * 4


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_the_dense_weight_is_the_packed_one(bits):
    problem = Problem(point(4, 128, 64, bits, "act"), devices.Cpu())
    assert problem.relative_error(peers.dense_layer(problem.dense[0])(problem.x)) < 2**-10
    assert problem.relative_error(torch.zeros_like(problem.product)) == 1


def test_tinygemm_multiplies_with_the_same_weights():
    times, reasons = Stopwatch(devices.Cpu()).peers(SMALL)
    assert (list(times), reasons) == (["tinygemm"], {})


def test_a_peer_that_computes_something_else_is_left_out_with_the_reason(monkeypatch):
    def wrong(weights):
        return lambda x: torch.ones(len(x), weights["scales"].shape[1])

    def raising(weights):
        raise RuntimeError("no kernel image\nfor this device")

    two = [peers.Peer(f.__name__, lambda case, on_gpu: True, f) for f in (wrong, raising)]
    monkeypatch.setattr(stopwatch, "PEERS", two)
    times, reasons = Stopwatch(devices.Cpu()).peers(SMALL)
    assert times == {}
    assert reasons["wrong"].startswith("its relative error is ")
    assert reasons["raising"] == "RuntimeError: no kernel image"


def test_the_launch_config_is_the_tuners_winner_or_the_plan():
    wide = SMALL.replace(bits=8, group_size=8)  # too small for the kernels with plans
    weights = random_weights(wide, DEVICE, 0) | {"maxq": wide.maxq}
    described = {name: one for name, one in weights.items() if name in OPERANDS}
    x = torch.ones(4, 128, dtype=torch.float16, device=DEVICE)
    matmul248(x, **described, out=torch.empty(4, 64, dtype=torch.float16, device=DEVICE))
    assert launch_config("triton", wide).startswith("matmul_248_kernel BM")
    assert launch_config("triton", wide.replace(m=3)) == "not known"
    assert launch_config("triton", SMALL) == "few16.BK64.shares1"


def test_a_line_forces_a_launch_config():
    forced = SMALL.replace(extra=(("cfg", ".BM16.BN64.BK32.w4.st3"),))
    prepared = Stopwatch(devices.open_device(None)).prepare("triton", "", forced)
    assert prepared.config == "cfg.BM16.BN64.BK32.w4.st3"
    assert prepared.relative_error < 2**-10


def test_pytest_benchmark_sees_the_injected_durations():
    rounds = []

    def pedantic(target, setup, rounds):
        for _ in range(rounds):
            setup()
            start = shown_time()
            target()
            seen.append(shown_time() - start)

    seen = rounds
    inject(types.SimpleNamespace(pedantic=pedantic), [3e-6, 1e-6, 2e-6])
    assert seen == [3e-6, 1e-6, 2e-6]


def test_a_machine_is_a_folder_name():
    about = {"gpu": "NVIDIA H200", "driver": "580.159", "torch": "2.11.0+cu130", "triton": "3.6.0"}
    assert folder_name(about) == "NVIDIA_H200-driver_580.159-torch_2.11.0_cu130-triton_3.6.0"


def test_stored_peers_are_shown_for_their_gpu_alone():
    assert stored_peers("NVIDIA H200")["w4", "4096x4096", 1]["cuda"]["peer"] == "tinygemm"
    assert stored_peers("NVIDIA H100 80GB HBM3") == {}

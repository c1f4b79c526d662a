"""Which stages a mutant is put to, in which order: the likeliest and cheapest first."""

from __future__ import annotations

from pathlib import Path

from .sites import CUDA, HOST, ROOT, Mutant
from .stages import (
    BY_RUNNER,
    CHECKS,
    CORPUS,
    DRAWN,
    EXLLAMA,
    META_READS,
    Stage,
    existing,
    file_stage,
)

LAYER = ("tests/test_checks.py", "tests/test_quant_linear.py", "tests/test_pack.py")
MODES, CONFIGS, KERNEL = (f"tests/test_{name}.py" for name in ("modes", "configs", "matmul248"))
GROUPED = "tests/test_grouped.py"
OF_TUNER = "tests/test_autotune{}.py"
STORE, TIMING, MACHINE = (OF_TUNER.format(f"_{name}") for name in ("store", "timing", "machine"))
TUNER = (
    *(OF_TUNER.format(name) for name in ("", "_hooks", "_identity")), STORE, TIMING,
    "tests/test_pruner.py", MACHINE, OF_TUNER.format("*"), "suite", CONFIGS,
)  # fmt: skip
STATES, PATHS, BUFFERS, REFUSALS, BUILD, MISSING, LAYERS = (
    f"tests/test_exllama_{name}.py"
    for name in ("states", "paths", "buffers", "refusals", "build", "missing", "linear")
)
HOST_TESTS = "tests/test_host_build.py"
EXTENSION = ("runner", "exllama", PATHS, BUFFERS, REFUSALS, LAYERS, STATES)
BINDING = (REFUSALS, BUFFERS, "exllama", LAYERS, PATHS, STATES)
SUITES = {"suite": (CORPUS, DRAWN, CHECKS), "exllama": EXLLAMA, "runner": (BY_RUNNER,)}
# By the stem of the mutated file; the suite itself comes where its name stands.
KERNEL_TESTS = {
    "triton_matmul": ("suite", *LAYER, KERNEL, CONFIGS),
    **dict.fromkeys(("grouped", "grouped_kernels", "row_order"), (GROUPED, "suite", *LAYER)),
    "operators": ("suite", *LAYER, MODES, KERNEL),
    "checks": (*LAYER, "suite", MODES, KERNEL),
    "quant_linear": (*LAYER, "suite", MODES),
    "packing": ("tests/test_pack.py", "tests/test_quant_linear.py", "suite"),
    "autotune_store": (STORE, *TUNER),
    "autotune_timing": (TIMING, *TUNER),
    "config_pruner": ("tests/test_pruner.py", *TUNER),
    "exllama": (BUFFERS, LAYERS, REFUSALS, MISSING, "exllama", STATES),
    "exllama_linear": (LAYERS, BUFFERS, "exllama", REFUSALS, STATES),
    "exllama_build": (BUILD, MISSING),
    "exllama_toolchain": (BUILD, MISSING),
    "binding": BINDING,
    "registry": BINDING,
}
# They judge the tree, its tables or this package, not the suite.
NOT_ABOUT_THE_SUITE = (
    "test_bug_table.py", "test_imports.py", "test_mutants.py", "test_mutants_cuda.py",
    "test_mutants_score.py", "test_aot_build.py", "test_aot_tables.py",
)  # fmt: skip
CHEAP_META = ("case", "data", "judge", "layouts", "locate", "rounding", "fills", "coverage",
              "profiles", "search", "verdicts", "strategies", "command_line")  # fmt: skip
META_OF = {
    "execute": ("verdicts", "judge"),
    "backend": ("case", "verdicts"),
    "bad": ("verdicts", "strategies"),
    "decode": ("locate",),
    "fuzz": ("command_line",),
    "known": ("verdicts",),
    "live": ("command_line",),
    "loader": ("verdicts",),
    "minimise": ("search",),
    "only": ("strategies", "coverage"),
    "operands": ("layouts", "data"),
    "philox": ("data",),
    "plugin": ("command_line",),
    "relations": ("search", "judge"),
    "report": ("command_line",),
    "session": ("search", "command_line"),
    "supervisor": ("verdicts",),
    "surroundings": ("verdicts",),
    "triton_backend": ("strategies",),
    "verdict": ("verdicts",),
    "worker": ("verdicts",),
}


def plan(mutant: Mutant, root: Path = ROOT) -> list[Stage]:
    """The stages of this mutant. A mutant of the suite is for tests/meta alone."""
    stem = Path(mutant.path).stem
    if mutant.area == "suite":
        return [file_stage(path, META_READS) for path in _meta_files(stem, root)]
    if mutant.path.startswith(CUDA) and stem not in KERNEL_TESTS:
        first = ("runner", HOST_TESTS) if mutant.path.startswith(HOST) else ("runner",)
        return kernel_plan((*first, *EXTENSION), root)
    return kernel_plan(KERNEL_TESTS.get(stem, TUNER), root)


def kernel_plan(names: tuple[str, ...], root: Path = ROOT) -> list[Stage]:
    """For a file of kernels/; no stage twice."""
    stages = {}
    for name in names:
        found = SUITES.get(name) or [file_stage(path) for path in existing(root, name)]
        stages |= {stage.name: stage for stage in found if stage.name not in stages}
    return [stage for stage in stages.values() if not stage.name.endswith("_gpu.py")]


def _meta_files(stem: str, root: Path) -> list[str]:
    names = dict.fromkeys((*META_OF.get(stem, ()), stem, *CHEAP_META))
    wanted = [f"tests/meta/test_{name}.py" for name in names] + ["tests/meta/test_*.py"]
    files = existing(root, *wanted)
    return [name for name in files if Path(name).name not in NOT_ABOUT_THE_SUITE]

"""Which stages a mutant is put to, in which order: the likeliest and cheapest first."""

from __future__ import annotations

from pathlib import Path

from .sites import CUDA, HOST, ROOT, Mutant
from .stages import (
    ALONE,
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
GROUPED, CHOICE, DENSE, STEPS, ORDER, MEASURED, WIDTHS = (
    f"tests/test_{name}.py"
    for name in ("grouped", "grouped_choice", "grouped_dense", "grouped_steps", "row_order",
                 "measured", "widths")
)  # fmt: skip
OF_TUNER = "tests/test_autotune{}.py"
STORE, TIMING, MACHINE = (OF_TUNER.format(f"_{name}") for name in ("store", "timing", "machine"))
KEY, LAUNCH = (OF_TUNER.format(f"_{name}") for name in ("key", "launch"))
TUNER = (
    *(OF_TUNER.format(name) for name in ("", "_hooks", "_identity")), STORE, TIMING,
    "tests/test_pruner.py", KEY, LAUNCH, OF_TUNER.format("_edges"), MACHINE, OF_TUNER.format("*"),
    "suite", CONFIGS,
)  # fmt: skip
STATES, PATHS, BUFFERS, GUARDS, REFUSALS, BUILD, MISSING, LAYERS, TOOLS, CHOSEN, HANDLES, MODULE = (
    f"tests/test_exllama_{name}.py"
    for name in ("states", "paths", "buffers", "guards", "refusals", "build", "missing", "linear",
                 "toolchain", "tools", "handles", "module")
)  # fmt: skip
EDGES, OF_LAYER = "tests/test_operand_edges.py", "tests/test_exllama_edges.py"
ADAPTERS = "tests/test_exllama_adapters.py"
TUNING = "tests/test_kernel_tuning.py"
HOST_TESTS, LAUNCHES, CHOICES, WIDE, SANITIZED = (
    f"tests/test_host_{name}.py" for name in ("build", "launch", "choices", "wide", "sanitized")
)
EXTENSION = ("runner", "exllama", PATHS, BUFFERS, REFUSALS, LAYERS, STATES, CHOICES, WIDE)
OF_HOST = ("runner", LAUNCHES, HOST_TESTS, SANITIZED)
BINDING = (GUARDS, REFUSALS, BUFFERS, "exllama", LAYERS, PATHS, STATES, HANDLES, CHOICES)
SUITES = {
    "suite": (CORPUS, DRAWN, CHECKS),
    "values": (CORPUS, DRAWN),
    "exllama": EXLLAMA,
    "runner": (BY_RUNNER,),
}
# By the stem of the mutated file; the suite itself comes where its name stands.
KERNEL_TESTS = {
    "triton_matmul": ("values", TUNING, *LAYER, CONFIGS, "suite", KERNEL, WIDTHS),
    "grouped": (CHOICE, DENSE, STEPS, GROUPED, "values", *LAYER),
    "grouped_plan": (CHOICE, DENSE, MEASURED, GROUPED, "values"),
    "dense_kernels": (DENSE, GROUPED, STEPS, "values", *LAYER),
    "grouped_kernels": (STEPS, GROUPED, "values", *LAYER, WIDTHS),
    "row_order": (ORDER, GROUPED, "values", *LAYER),
    "operators": ("values", TUNING, EDGES, STEPS, *LAYER, MODES, GROUPED, "suite", KERNEL),
    "checks": (*LAYER, EDGES, "values", MODES, "suite", KERNEL),
    "quant_linear": (*LAYER, EDGES, "values", MODES, "suite"),
    "packing": ("tests/test_pack.py", "tests/test_quant_linear.py", "suite"),
    "autotune_store": (STORE, *TUNER),
    "autotune_timing": (TIMING, *TUNER),
    "config_pruner": ("tests/test_pruner.py", *TUNER),
    "exllama": (BUFFERS, LAYERS, REFUSALS, MISSING, "exllama", STATES, MODULE),
    "exllama_linear": (LAYERS, BUFFERS, OF_LAYER, "exllama", REFUSALS, STATES, ADAPTERS),
    "exllama_build": (TOOLS, BUILD, MISSING, CHOSEN),
    "exllama_toolchain": (TOOLS, BUILD, MISSING, CHOSEN),
    "binding": BINDING,
    "registry": BINDING,
}
# They judge the tree, its tables, benchmarks, another test's steps or this package, not the suite.
NOT_ABOUT_THE_SUITE = (
    "test_bug_table.py", "test_imports.py", "test_mutants.py", "test_mutants_cuda.py",
    "test_mutants_score.py", "test_aot_build.py", "test_aot_tables.py", "test_bench_gate.py",
    "test_bench_remote.py", "test_bench_run.py", "test_bench_timing.py", "test_exllama_steps.py",
    "test_museum_table.py", "test_mutants_record.py", "test_mutants_matrix.py",
    "test_mutants_reach.py", "test_mutants_gpu.py", "test_aot_widths.py",
)  # fmt: skip
# By what they take on the code as it is: 1 s, 2 s to 7 s, 14 s to 60 s of processor time.
CHEAP_META = (
    "case", "data", "judge", "layouts", "locate", "rounding", "fills", "corpus",
    "control", "declared_numerics", "coverage", "sum_order", "diagnosis", "search", "profiles",
    "oracles",
)  # fmt: skip
SLOW_META = ("fingerprint", "speed", "strategies", "pairwise", "verdicts", "command_line")
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
    "plugin": ("called", "command_line"),
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
        first = OF_HOST if mutant.path.startswith(HOST) else ("runner",)
        return kernel_plan((*first, *EXTENSION), root)
    return kernel_plan(KERNEL_TESTS.get(stem, TUNER), root)


def killer_first(killers: dict[str, str]):
    """`plan`, but what killed a mutant the last time comes first.

    Then most of a changed tree is scored by one stage each.
    """

    def ordered(mutant: Mutant, root: Path = ROOT) -> list[Stage]:
        killer = killers.get(mutant.id)
        return sorted(plan(mutant, root), key=lambda stage: stage.told != killer)

    return ordered


def kernel_plan(names: tuple[str, ...], root: Path = ROOT) -> list[Stage]:
    """For a file of kernels/; no stage twice."""
    stages = {}
    for name in names:
        found = SUITES.get(name) or [file_stage(path) for path in existing(root, name)]
        stages |= {stage.name: stage for stage in found if stage.name not in stages}
    for test in ALONE:
        if test.partition("::")[0] in names:
            stages[test] = file_stage(test)
    return [stage for stage in stages.values() if not stage.name.endswith("_gpu.py")]


def _meta_files(stem: str, root: Path) -> list[str]:
    own = dict.fromkeys((*META_OF.get(stem, ()), stem))
    names = [name for name in own if name not in SLOW_META]
    names = dict.fromkeys((*names, *CHEAP_META, *own, *SLOW_META))
    wanted = [f"tests/suite/test_{name}.py" for name in names] + ["tests/suite/test_*.py"]
    files = existing(root, *wanted)
    return [name for name in files if Path(name).name not in NOT_ABOUT_THE_SUITE]

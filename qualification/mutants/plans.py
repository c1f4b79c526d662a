"""Which tests concern a file: by folder, the likeliest and the cheapest first."""

from __future__ import annotations

from pathlib import Path

# The first folder that fits: folders of tests, and built-in kernels that replay the suite's corpus.
PLANS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "kernels/custom_autotune": (("autotune",), ()),
    "kernels/exllama/ext": (("host_build", "exllama"), ("exllama",)),
    "kernels/exllama": (("exllama",), ()),
    "kernels": (("triton", "layers"), ("triton",)),
    "gptq_fuzz/bench": (("bench",), ()),
    "gptq_fuzz/campaign": (("campaign",), ()),
    "gptq_fuzz/report": (("report",), ()),
    "gptq_fuzz/store": (("campaign",), ()),
    "gptq_fuzz": (("suite",), ()),
}
LEFT_OUT = (  # what judges other kernels at length, or the tree, or compiles for itself
    "test_museum", "test_false_alarms", "test_imports", "test_bug_ids", "test_faults",
    "test_sanitized", "test_end_of_memory",
)  # fmt: skip
SLOW = (  # more than some ten seconds: for what all others let through
    "test_bisect", "test_campaign", "test_check", "test_command_line", "test_configs",
    "test_course", "test_fingerprint", "test_handed_on", "test_machine",
    "test_missing", "test_modes", "test_packed_linear", "test_paths", "test_problem_file",
    "test_states", "test_uniform_groups", "test_worker",
)  # fmt: skip
PYTEST = ("-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0", "-rfE")


def commands(path: str, root: Path) -> list[list[str]]:
    """What is run, up to the first failure, for a mutant of this file: words after `python -m`.

    First tests called as the file or its folder; then all that are quick, the corpus, the slow.
    """
    places, kernels = next(plan for folder, plan in PLANS.items() if path.startswith(f"{folder}/"))
    files = [file for place in places for file in _files(place, root)]
    names = Path(path).stem, Path(path).parent.name
    groups = [
        [file for file in files if any(name in file.stem for name in names)],
        *(
            [file for file in files if file.parent.name == p and file.stem not in SLOW]
            for p in places
        ),
        [file for file in files if file.stem in SLOW],
    ]
    tests = [
        ["pytest", *PYTEST, *(file.relative_to(root).as_posix() for file in group)]
        for group in groups
        if group
    ]
    corpora = [["gptq_fuzz", *PYTEST, "--kernel", kernel, "-k", "corpus"] for kernel in kernels]
    return [*tests[:-1], *corpora, tests[-1]]


def _files(place: str, root: Path) -> list[Path]:
    found = sorted(root.glob(f"tests/{place}/test_*.py"))
    if not found:
        raise ValueError(f"tests/{place} holds no tests, {__name__} names it")
    return [file for file in found if file.stem not in LEFT_OUT]

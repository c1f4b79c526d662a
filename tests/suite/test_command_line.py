"""What a run prints and how it exits, as an engineer starts it from a checkout."""

import json
import re
import shlex
from xml.etree import ElementTree

import pytest

from gptq_fuzz._checkout import ROOT
from gptq_fuzz.search.called_as import python_word
from tests.runs import QUIET, run_many, run_pytest

pytestmark = pytest.mark.turns(5, whole=True)

TESTS = "gptq_fuzz/conformance/test_conformance.py"  # named, so that nothing else is collected
RIGHT = "gptq_fuzz/museum/correct/float32_weights.py:f"
FAULTY = "gptq_fuzz/museum/faulty/zero_not_wrapped.py:f"
TWO_BIT = "gptq_fuzz/museum/faulty/two_bit_wrong.py:f"
TRUNCATING = "gptq_fuzz/museum/faulty/output_truncated.py:f"
SUM = "m64-n8-k120-b4-gall"
LINE = "m1-n32-k32-b4-gall-z0"
ALONE = ("--in-process", "--kernel")
AGAIN = f"reproduce: {python_word()} -m pytest"
FILES = {
    "known.txt": f"# waived\n{FAULTY} b4-z0 #12 the wrap is missing\n",
    "stale.txt": f"{FAULTY} b4-z0 #12 the wrap is missing\n{FAULTY} b2 #13 two bits\n",
    "passing.txt": f"{RIGHT} b4 #14 once wrong\n",
    "malformed.txt": f"{FAULTY} b4-z0 somebody will look\n",
    "corpus.txt": f"{LINE}  # a zero-point of 0\n",
    "unreadable.txt": "m1-n4-k4-b4-gall-frobnicate\n",
    "binary.txt": b"\x89\xff",
    "raising.py": "raise RuntimeError('no such GPU')\n",
    "lacking.py": "def g(): pass\n",
    "quitting.py": "import os\n\n\ndef f(**operands):\n    os._exit(0)\n",
    "speechless.py": """
class Speechless(Exception):
    def __str__(self):
        raise RuntimeError


def f(**operands):
    raise Speechless
""",
}
RUNS = {
    # name: options, the exit status that is due, and words of the output; {} is a folder of FILES
    "right": (
        [*ALONE, RIGHT, "--case", LINE, "--json", "{}/right.json"],
        0,
        ["gptq-fuzz: gptq_fuzz/museum/correct/float32_weights.py:f on CPU", "PASS 1"],
    ),
    "faulty": (
        [
            *("--kernel", FAULTY, "--case", LINE),
            *("--json", "{}/faulty.json", "--junitxml", "{}/junit.xml"),
        ],
        1,
        [f"{AGAIN} --kernel {FAULTY} --device cpu --case {LINE}", "WRONG: "],
    ),
    "faulty in process": ([*ALONE, FAULTY, "--case", LINE], 1, [f"--case {LINE}", "WRONG: "]),
    "malformed case": ([*ALONE, RIGHT, "--case", "m1-n4-k4-b9-gall"], 4, ["'b9'", "b8|b4|b2"]),
    "unknown kernel": ([*ALONE, "frobnicate"], 4, ["frobnicate", "wanted triton, exllama, torch,"]),
    "raising": ([*ALONE, "{}/raising.py:f"], 4, ["raised RuntimeError: no such GPU"]),
    "lacking": ([*ALONE, "{}/lacking.py:f"], 4, ["has no 'f'; it has g"]),
    "no attribute": ([*ALONE, "{}/lacking.py"], 4, ["wanted triton,", "path/to/file.py:attribute"]),
    "many processes": ([*ALONE, "{}/raising.py:f", "-n", "2"], 4, ["no such GPU"]),
    "listed": (
        [*ALONE, RIGHT, "--collect-only", "-q", "-k", "refused"],
        0,
        [f"test_what_lies_outside_the_limits_is_refused[{RIGHT}]"],
    ),
    "listed of none": ([*ALONE, "{}/raising.py:f", "--collect-only"], 4, ["no such GPU"]),
    "no time": ([*ALONE, RIGHT, "--timeout", "-3"], 4, ["seconds above 0", "got '-3'"]),
    "endless": ([*ALONE, RIGHT, "--budget", "inf"], 4, ["seconds above 0", "got 'inf'"]),
    "ages": ([*ALONE, RIGHT, "--timeout", "1e12"], 4, ["at most 1e+06, got '1e12'"]),
    "no corpus": ([*ALONE, RIGHT, "--corpus=absent.txt"], 4, ["--corpus=absent.txt: No such file"]),
    "no text": ([*ALONE, RIGHT, "--corpus={}/binary.txt"], 4, ["binary.txt: wanted a text file"]),
    "no line": ([*ALONE, RIGHT, "--corpus={}/unreadable.txt"], 4, ["--corpus: ", "frobnicate"]),
    "no waivers": ([*ALONE, RIGHT, "--known=absent.txt"], 4, ["--known=absent.txt: No such file"]),
    "no interpreter": ([*ALONE, RIGHT, "--python=/absent"], 4, ["--python=/absent: wanted"]),
    "no report": ([*ALONE, RIGHT, "--json=/proc/no.json"], 4, ["--json=/proc/no.json: "]),
    "no such device": ([*ALONE, RIGHT, "--device", "gpu"], 4, ["--device", "not gpu"]),
    "steps of none": (
        ["--in-process", "--called-as=gptq-fuzz", "--steps", "load-0-n16-k32-b4-gall"],
        4,
        ["--steps wants the kernel"],
    ),
    "two tasks": (
        [*ALONE, RIGHT, "--case", LINE, "--budget", "5"],
        4,
        ["--case and --budget are runs of their own"],
    ),
    "a folder": ([*ALONE, RIGHT, "--json={}"], 4, ["wanted a file, this is a folder"]),
    "no JUnit": ([*ALONE, RIGHT, "--junitxml=/proc/a.xml"], 4, ["--junitxml=/proc/a.xml: "]),
    "a page of a folder": ([*ALONE, RIGHT, "--html={}"], 4, ["--html=", "this is a folder"]),
    "one file for two": ([*ALONE, RIGHT, "--json=a", "--html=./a"], 4, ["wanted two files"]),
    "no profile": (
        [*ALONE, RIGHT, "--hypothesis-profile", "absent"],
        4,
        ["--hypothesis-profile absent", "not registered"],
    ),
    "speechless": ([*ALONE, "{}/speechless.py:f", "--case", LINE], 1, ["RAISED: Speechless: "]),
    "only": (
        [*ALONE, TWO_BIT, "--only", "b4", "-k", "right and exact", "--json", "{}/only.json"],
        0,
        ["PASS"],
    ),
    "only outside": ([*ALONE, RIGHT, "--only", "v2"], 4, ["--only v2: this kernel's formats"]),
    "known": ([*ALONE, FAULTY, "--case", LINE, "--known", "{}/known.txt"], 0, ["KNOWN 1"]),
    "stale": (
        [*ALONE, FAULTY, "--case", LINE, "--known", "{}/stale.txt"],
        1,
        ["KNOWN 1", "b2 #13 two bits' matched no case"],
    ),
    "waived in a folder": (
        [*ALONE, "{}/my kernels/mine.py:f", "--case", LINE, "--known={}/spaces.txt"],
        0,
        ["KNOWN 1"],
    ),
    "passing waiver": (
        [*ALONE, RIGHT, "--case", LINE, "--known", "{}/passing.txt"],
        1,
        ["b4 #14 once wrong' passed on each of 1 cases: remove it"],
    ),
    "malformed waiver": (
        [*ALONE, FAULTY, "--case", LINE, "--known", "{}/malformed.txt"],
        4,
        ["malformed.txt:1: wanted `KERNEL TOKENS #ISSUE`"],
    ),
    "nothing judged": ([*ALONE, RIGHT, "-k", "no_such_test"], 4, ["no case was judged"]),
    "corpus": (
        [*ALONE, FAULTY, "--corpus", "{}/corpus.txt", "-k", "corpus_line and z0"],
        1,
        ["WRONG: ", AGAIN],
    ),
    "fingerprint": (
        [*ALONE, RIGHT, "--case", SUM, "--fingerprint={}/prints.json"],
        0,
        ["split-K: none", "weights: exact", "result: nearest even"],
    ),
    "contradicted": (
        [*ALONE, TRUNCATING, "--case", SUM, "--fingerprint={}/truncating.json"],
        1,
        [f"Numerics of {TRUNCATING} contradicted", "result: rounding to nearest even is promised"],
    ),
    "no fingerprints": ([*ALONE, RIGHT, "--fingerprint={}/known.txt"], 4, ["known.txt: no file"]),
    "quits": (
        [*("--kernel", "{}/quitting.py:f"), "--in-process", "--case", LINE],
        1,
        ["LOST: the kernel ended this process with os._exit(0)", f"quitting.py:f --case {LINE}"],
    ),
    "budget": (
        ["--kernel", RIGHT, "--kernel", FAULTY, "--budget", "8", "--hypothesis-seed", "5"],
        1,
        [
            *("fuzz: base seed 5", "PASS", "py:f: fills ", "axis values"),
            f", to be made smaller: {python_word()} -m pytest --kernel {FAULTY}",
            f"as above: {python_word()} -m pytest --kernel {FAULTY}",
        ],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("command-line")
    for name, text in FILES.items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    place = folder / "my kernels" / "mine.py"
    place.parent.mkdir()
    place.write_text((ROOT / FAULTY.removesuffix(":f")).read_text())
    (folder / "spaces.txt").write_text(f"{place}:f b4-z0 #12 the wrap is missing\n")
    return folder


@pytest.fixture(scope="module")
def runs(folder):
    """Name -> (exit status, all output); what ends its process or fuzzes has one of its own."""
    words = {
        name: [*QUIET, TESTS, "--device", "cpu", *(word.format(folder) for word in words)]
        for name, (words, _, _) in RUNS.items()
    }
    apart = {name: run_pytest(words.pop(name)) for name in ("quits", "budget")}
    return run_many(words) | apart


@pytest.mark.parametrize("name", RUNS)
def test_a_run_exits_and_prints_what_is_due(runs, name):
    status, output = runs[name]
    _, wanted, words = RUNS[name]
    assert status == wanted, output
    assert not [word for word in words if word not in output], output


def test_after_one_case_nothing_is_said_of_a_space(runs):
    assert "not judged" not in runs["right"][1]
    assert "axis values" not in runs["right"][1]


def read_json(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


def test_json_holds_verdicts_coverage_and_no_finding_of_a_right_kernel(runs, folder):
    data = read_json(folder, "right")
    kernel = data["kernels"][RIGHT]
    assert (kernel["cases"], kernel["verdicts"], data["findings"]) == (1, {"PASS": 1}, [])
    assert kernel["values"]["zeros=z0"] == 1
    assert "zeros=zall" in kernel["missing"]
    assert kernel["about"]["device"] == "CPU"


def test_json_holds_the_finding_with_its_command(runs, folder):
    (finding,) = read_json(folder, "faulty")["findings"]
    assert (finding["kernel"], finding["kind"], finding["line"]) == (FAULTY, "WRONG", LINE)
    assert finding["reproduce"].endswith(f"--case {LINE}")


def test_only_narrows_what_is_drawn(runs, folder):
    kernel = read_json(folder, "only")["kernels"][TWO_BIT]
    assert [value for value in kernel["values"] if value.startswith("bits=")] == ["bits=b4"]
    assert kernel["cases"] > 10


def test_junit_holds_the_reproduce_line(runs, folder):
    (failure,) = ElementTree.parse(folder / "junit.xml").iter("failure")
    assert f"--case {LINE}" in failure.text
    assert failure.text.startswith(f"{AGAIN} --kernel ")


def reproduced(output, started_in):
    """The first printed command, run as it stands where it was printed."""
    printed = next(text for text in output.splitlines() if text.startswith("reproduce: "))
    words = shlex.split(printed.removeprefix("reproduce: "))
    assert words[:3] == [python_word(), "-m", "pytest"]
    return run_pytest(words[3:], started_in)


def test_the_printed_command_fails_again_alone(runs):
    status, output = reproduced(runs["faulty"][1], ROOT)
    assert status == 1, output
    assert "WRONG: " in output
    assert int(re.search(r"collected (\d+) items", output)[1]) < 200  # none of the checkout's own


def test_the_printed_command_fails_again_where_it_was_started(folder):
    """Started elsewhere, a path is relative to that place, and the tests have to be named."""
    (folder / "mine.py").write_text("def f(*, x, qweight, **_):\n    return x[:, :0]\n")
    words = ["--kernel", "mine.py:f", "--device", "cpu", "--case", "m1-n4-k4-b8-gall"]
    first, output = run_pytest([str(ROOT / TESTS), *words], folder)
    assert first == 1, output
    again, output = reproduced(output, folder)
    assert again == 1, output
    assert "WRONG_TYPE: " in output

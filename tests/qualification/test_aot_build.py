"""qualification/aot builds in parallel, survives its compilers, and builds nothing twice."""

import ast
import os
import tempfile
from types import SimpleNamespace

import pytest
from triton.compiler.errors import CompilationError
from triton.runtime.errors import PTXASError

from qualification.aot import build as building
from qualification.aot.build import attempt, build, cache_folder, isolated
from qualification.aot.jit import arguments
from qualification.aot.resources import Built, Resources
from qualification.aot.variants import variants

NEEDED = Resources(threads=128, registers=168, shared=57600)
VARIANT = variants(["sm_90"])[0]


def compile_or_die(given):
    """Stands for a compiler: dies of 3, doubles other numbers, and knows nothing else."""
    if given == 3:
        os.write(2, b"LLVM ERROR: cannot select\n")
        os._exit(6)
    return given * 2.0


def test_a_process_that_dies_fails_with_its_last_words():
    assert isolated(compile_or_die, 4) == 8
    with pytest.raises(ChildProcessError, match="exit status 6 LLVM ERROR: cannot select"):
        isolated(compile_or_die, 3)


def test_an_exception_in_a_process_says_where():
    with pytest.raises(RuntimeError, match=r"compile_or_die[\s\S]*TypeError"):
        isolated(compile_or_die, "x")


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """A cache of its own, and a compiler of no effort: the variants that it was asked for."""
    seen = []

    def compiled(function, variant):
        seen.append(variant)
        return Built(NEEDED)

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(building, "isolated", compiled)
    monkeypatch.setattr(building, "fingerprint", str)  # sources have none in the interpreter
    return seen


def test_what_was_built_is_not_built_again(asked):
    first, second = variants(["sm_90"])[:2]
    assert build([first]) == {first: Built(NEEDED)}
    assert list(build([first, second])) == [first, second]
    assert asked == [first, second]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"threads": 1}', '{"warps": 1}', "\x00"])
def test_a_damaged_file_of_the_cache_is_built_again(asked, content):
    build([VARIANT])
    (cache_folder() / str(VARIANT)).write_text(content)
    assert build([VARIANT]) == {VARIANT: Built(NEEDED)}
    assert asked == [VARIANT, VARIANT]


def test_a_dead_compiler_is_named_and_not_remembered(asked, monkeypatch):
    def died(function, variant):
        raise ChildProcessError("exit status -11")

    with monkeypatch.context() as patch:
        patch.setattr(building, "isolated", died)
        built = build([VARIANT])
    assert built == {VARIANT: Built(None, "the compiler died: exit status -11")}
    build([VARIANT])
    assert asked == [VARIANT]


PLACE = ast.Pass(lineno=1, col_offset=0)
CAUSED = CompilationError("def f(): pass", PLACE, None)
CAUSED.__cause__ = ValueError("too many elements")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            PTXASError(f"no\n {tempfile.gettempdir()}/tmp1.ptx, line 5"),
            "PTXASError: no a file, line 5",
        ),
        (RuntimeError("PassManager\nfailed"), "RuntimeError: PassManager failed"),
        (CompilationError("def f(): pass", PLACE, "K >= 16"), "CompilationError: K >= 16"),
        (CAUSED, "CompilationError: too many elements"),
    ],
)
def test_what_the_tuner_takes_for_a_refusal_is_one(error, words, monkeypatch):
    def refuse(variant):
        raise error

    monkeypatch.setattr(building, "compile_variant", refuse)
    assert attempt(VARIANT) == Built(None, words)


def test_what_the_compiler_does_not_raise_is_no_refusal(monkeypatch):
    monkeypatch.setattr(building, "compile_variant", lambda variant: {}[variant])
    with pytest.raises(KeyError):
        attempt(VARIANT)


@pytest.mark.parametrize(
    ("triton_dir", "xdg", "folder"),
    [("/t", "/x", "/t"), ("", "/x", "/x"), ("", "", "/home/me/.cache")],
)
def test_the_cache_lies_where_it_was_asked_for(triton_dir, xdg, folder, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", triton_dir)
    monkeypatch.setenv("XDG_CACHE_HOME", xdg)
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_folder().as_posix() == f"{folder}/gptq_fuzz/aot"


def parameter(name, **known):
    defaults = {"is_constexpr": False, "do_not_specialize": False, "has_default": False}
    return SimpleNamespace(name=name, **(defaults | known))


def test_arguments_follow_the_kernel():
    params = [parameter("x_ptr"), parameter("bits", is_constexpr=True)]
    params += [parameter("T", do_not_specialize=True), parameter("NEW", has_default=True)]
    values = arguments(SimpleNamespace(params=params), VARIANT)
    options = dict(VARIANT.config)
    assert values.keys() == {"x_ptr", "bits", "T"} | options.keys()
    assert (values["bits"], values["T"]) == (2, 16)
    assert values["x_ptr"].data_ptr() % 16 == 0


@pytest.mark.parametrize(
    "unknown", [parameter("y_ptr"), parameter("L"), parameter("C", is_constexpr=True)]
)
def test_an_argument_whose_value_would_be_a_guess_is_refused(unknown):
    with pytest.raises(KeyError, match=f"which value has {unknown.name} of"):
        arguments(SimpleNamespace(params=[unknown]), VARIANT)

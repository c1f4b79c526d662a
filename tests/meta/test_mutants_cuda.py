"""Mutants of C++ and CUDA sources: patterns do what they say and leave alone what is no code."""

import itertools

import pytest

from tests.mutants import hostbuild
from tests.mutants.cpp import Source
from tests.mutants.sites import ROOT, all_sites, mutants_of

AROUND = "void f() {{\n  {}\n}}\n"
SNIPPETS = [
    # variant, statement, what the mutants turn it into
    ("boundary-relation", "a = b < c;", ["a = b <= c;"]),
    ("boundary-extreme", "a = std::min(b, c);", ["a = std::max(b, c);"]),
    ("mask-dropped", "if (row >= p.rows) continue;", ["if (false) continue;"]),
    (
        "mask-weakened",
        "if (a || b) return;",
        ["if (false || b) return;", "if (a || false) return;"],
    ),
    ("mask-unguarded", "if (a < b) c = d;", ["if (true) c = d;"]),
    ("mask-chosen-always", "a = b ? c : d;", ["a = true ? c : d;"]),
    ("mask-chosen-never", "return b < 2 ? c : d;", ["return false ? c : d;"]),
    ("arithmetic-operator", "a = b * c;", ["a = b + c;"]),
    ("arithmetic-bits", "a = b >> c;", ["a = b << c;"]),
    ("arithmetic-augmented", "a += b;", ["a -= b;"]),
    ("constant-plus", "a = b + 0x10;", ["a = b + (0x10 + 1);"]),
    ("constant-minus", "a = b + 3;", ["a = b + (3 - 1);"]),
    ("constant-flag", "a = true;", ["a = false;"]),
    ("dtype-narrowed", "const int64_t a = b;", ["const int32_t a = b;"]),
    ("index-sibling", "a = blockIdx.x;", ["a = blockIdx.y;"]),
    ("index-subscript", "a = b[i % 2];", ["a = b[(i % 2) + 1];"]),
    ("index-swapped", "g(a, b);", ["g(b, a);"]),
    ("barrier-deleted", "a = 1; __syncthreads();", ["a = 1; "]),
    ("barrier-earlier", "a = 1; __syncthreads();", ["__syncthreads();a = 1; "]),
    ("order-swapped", "a = b; c = a;", ["c = a; a = b;"]),
    ("statement-deleted", "g(a);", [";"]),
    ("condition-opposite", "a = b == c;", ["a = b != c;"]),
    ("condition-connective", "a = b && c;", ["a = b || c;"]),
    ("condition-negated", "if (a) b = c;", ["if (!(a)) b = c;"]),
    ("exception-dropped", 'TORCH_CHECK(a < b, "no");', ['TORCH_CHECK(true, "no");']),
    ("exception-deleted", "check_all(a);", [";"]),
]


@pytest.mark.parametrize(("variant", "statement", "wanted"), SNIPPETS)
def test_a_pattern_does_what_it_says(variant, statement, wanted):
    made = mutants_of("kernels/exllama_ext/a.cu", AROUND.format(statement))
    found = [m.source for m in made if f":f:{variant}:" in m.id]
    assert found == [AROUND.format(text) for text in wanted]


SILENT = [
    "// a = b + 1;\n",
    "#if A < 1\n#endif\n",
    'void f() {\n  const char* a = "b + 1";\n}\n',
    "template <int A, bool B = true>\nvoid f();\n",
    "void f() {\n  span<int> a;\n}\n",
]


@pytest.mark.parametrize("code", SILENT)
def test_what_no_machine_runs_is_left_alone(code):
    assert not [m.change for m in mutants_of("kernels/exllama_ext/a.cu", code)]


def test_ids_name_the_class_and_the_function():
    code = "struct a {\n  int b(int c) const { return c + 1; }\n};\n"
    names = {m.id for m in mutants_of("kernels/exllama_ext/a.h", code)}
    assert "exllama_ext/a.h:a.b:arithmetic-operator:1" in names


def test_pieces_cover_all_code():
    for path in (ROOT / "kernels" / "exllama_ext").glob("*.cu"):
        source = Source(path.read_text())
        spans = [(piece.start, piece.end) for piece in source.pieces]
        between = [source.code[end:start] for (_, end), (start, _) in itertools.pairwise(spans)]
        assert set(between) <= {"", "{", "}"}
        assert spans[-1][1] == len(source.code)


def test_what_only_nvcc_reads_is_not_enumerated():
    paths = {mutant.path for mutant in all_sites()}
    assert not [path for path in paths if "/cuda/" in path]
    assert "kernels/exllama_ext/host/block.h" in paths


def test_an_object_file_depends_on_all_that_is_included(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / hostbuild.SOURCES
    folder.mkdir(parents=True)
    (folder / "a.cu").write_text('#include "b.h"\n')
    (folder / "b.h").write_text('#include "c.h"\n#include <vector>\n')
    (folder / "c.h").write_text("")
    before = hostbuild.digest(hostbuild.closure(hostbuild.SOURCES / "a.cu"))
    (folder / "c.h").write_text("// changed\n")
    assert hostbuild.digest(hostbuild.closure(hostbuild.SOURCES / "a.cu")) != before

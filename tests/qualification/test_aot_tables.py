"""qualification/aot away from any compiler: what it reads, names, compares and refuses."""

import pytest
import triton
from rich.console import Console

from qualification.aot import nvcc
from qualification.aot import table as tables
from qualification.aot.__main__ import TRITON, compare, main, nvcc_tables
from qualification.aot.architectures import ARCHITECTURES
from qualification.aot.resources import Built, Resources, of_amdgcn, res_usage
from qualification.aot.summary import summary
from qualification.aot.table import Table, difference, line_of, read
from qualification.aot.variants import name_of, options_of, variants

# Printed by the cuobjdump of triton 3.7.1 for a kernel of this project, for sm_100.
CUOBJDUMP = """
Resource usage:
 Common:
  GLOBAL:0
 Function transpose_matmul_248_kernel:
  REG:255 STACK:696 SHARED:1024 LOCAL:0 CONSTANT[0]:1024 TEXTURE:0 SURFACE:0 SAMPLER:0
"""
# The end of what triton 3.7.1 assembles for gfx942, most of the arguments left out.
AMDGCN = """
; NumVgprs: 256
; ScratchSize: 0
	.amdgpu_metadata
---
amdhsa.kernels:
  - .agpr_count:     32
    .args:
      - .address_space:  global
        .offset:         0
        .size:           8
        .value_kind:     global_buffer
      - .offset:         48
        .size:           4
        .value_kind:     by_value
    .group_segment_fixed_size: 0
    .kernarg_segment_align: 8
    .kernarg_segment_size: 128
    .max_flat_workgroup_size: 256
    .name:           matmul_248_kernel
    .private_segment_fixed_size: 12
    .sgpr_count:     106
    .sgpr_spill_count: 1043
    .symbol:         matmul_248_kernel.kd
    .uniform_work_group_size: 1
    .uses_dynamic_stack: false
    .vgpr_count:     288
    .vgpr_spill_count: 3
    .wavefront_size: 64
amdhsa.target:   amdgcn-amd-amdhsa--gfx942
"""
# Of the same tool's -elf for a kernel of nvcc 13.0, most attributes left out.
ELF = """
.nv.info._ZN7exllama15multiply_kernelILi4ELb0EEEv7product
	Attribute:	EIATTR_MAXREG_COUNT
	Format:	EIFMT_HVAL
	Value:	0xff
	<0x10>
	Attribute:	EIATTR_MAX_THREADS
	Format:	EIFMT_SVAL
	Value:	0x200 0x1 0x1
.nv.info._ZN7exllama12codes_kernelEPKj
	Attribute:	EIATTR_MAXREG_COUNT
	Format:	EIFMT_HVAL
	Value:	0xff
"""
NEEDED = Resources(threads=128, registers=168, shared=57600)


def table_of(version="triton 3.7.1", **lines):
    return Table("sm_80", version, lines)


def test_what_cuobjdump_prints_is_read():
    (counts,) = res_usage(CUOBJDUMP).values()
    assert res_usage(CUOBJDUMP).keys() == {"transpose_matmul_248_kernel"}
    assert (counts["REG"], counts["STACK"], counts["SHARED"]) == (255, 696, 1024)


def test_launch_bounds_are_read():
    assert nvcc.most_threads(ELF) == {"_ZN7exllama15multiply_kernelILi4ELb0EEEv7product": 512}


def test_nvcc_compiles_for_all_of_nvidia_but_what_is_too_old():
    assert nvcc.targets(["sm_75", *ARCHITECTURES]) == [a for a in ARCHITECTURES if a != "gfx942"]


def test_without_nvcc_its_tables_are_left_out(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    assert nvcc_tables(list(ARCHITECTURES), Console()) == []
    assert "nvcc is not on the PATH" in capsys.readouterr().out


def test_the_metadata_of_amdgcn_is_read():
    assert of_amdgcn(AMDGCN, threads=256, shared=8192) == Resources(
        threads=256, registers=288, shared=8192, stack=12,
        scalar_registers=106, spilled_vectors=3, spilled_scalars=1043,
    )  # fmt: skip


@pytest.mark.parametrize("needed", [NEEDED, Resources(*range(1, 9)), Resources(32, 0, 0)])
def test_resources_are_read_as_they_print(needed):
    assert Resources.parse(str(needed)) == needed


@pytest.mark.parametrize("field", ["stack", "spilled_vectors", "spilled_scalars"])
def test_each_kind_of_spilling_counts(field):
    assert NEEDED._replace(**{field: 4}).spills
    assert not NEEDED.spills


@pytest.mark.parametrize(
    ("arch", "most", "excess"),
    [
        ("sm_80", {"shared": 163 * 1024}, {"shared": 163 * 1024 + 1}),
        ("sm_86", {"shared": 99 * 1024}, {"shared": 99 * 1024 + 1}),
        ("sm_90", {"shared": 227 * 1024}, {"shared": 227 * 1024 + 1}),
        ("gfx942", {"shared": 64 * 1024}, {"shared": 64 * 1024 + 1}),
        ("sm_100", {"tensor_memory": 512}, {"tensor_memory": 544}),
        ("sm_120", {"threads": 256, "registers": 255}, {"threads": 512, "registers": 129}),
        ("sm_89", {"registers": 255}, {"registers": 256}),
        ("gfx942", {"threads": 256, "registers": 512}, {"threads": 512, "registers": 257}),
        ("sm_80", {"threads": 1024, "registers": 64}, {"threads": 2048, "registers": 32}),
    ],
)
def test_exactly_the_limit_runs_and_more_is_named(arch, most, excess):
    limits = ARCHITECTURES[arch]
    assert limits.lacks(NEEDED._replace(shared=0)._replace(**most)) == []
    (reason,) = limits.lacks(NEEDED._replace(shared=0)._replace(**excess))
    assert reason.startswith("needs ")


def test_a_line_names_what_is_lacking():
    line = line_of(Built(NEEDED._replace(shared=101377)), ARCHITECTURES["sm_86"])
    assert line == (
        "threads 128, registers 168, shared 101377; "
        "cannot run: needs 101377 bytes of shared memory, there are 101376"
    )


def test_what_cannot_run_is_listed_with_its_reason():
    failed = line_of(Built(None, "PTXASError: no"), ARCHITECTURES["sm_86"])
    table = table_of(a=str(NEEDED), b=f"{NEEDED}; cannot run: too much", c=failed)
    assert table.refused == {"b": "too much", "c": "PTXASError: no"}


def test_a_table_is_read_as_it_was_written(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "FOLDER", tmp_path / "benchmarks" / "aot")
    written = table_of(a="threads 32", b="not compiled; cannot run: why: so")
    written.write()
    assert read("sm_80") == written
    assert read("sm_90") == Table("sm_90", "")


def test_a_table_without_a_version_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "FOLDER", tmp_path)
    (tmp_path / "sm_80.txt").write_text("a: threads 32\n")
    with pytest.raises(ValueError, match=r"sm_80\.txt does not begin with"):
        read("sm_80")


def test_a_changed_count_is_shown_as_a_diff():
    old = table_of(a=str(NEEDED), b="threads 32")
    new = table_of(a=str(NEEDED._replace(registers=170, stack=8)), b="threads 32")
    assert difference(old, new, whole=True) == [
        "--- benchmarks/aot/sm_80.txt",
        "+++ compiled now",
        "@@ -1 +1 @@",
        "-a: threads 128, registers 168, shared 57600",
        "+a: threads 128, registers 170, shared 57600, stack 8",
    ]


def test_equal_tables_differ_in_nothing():
    assert difference(table_of(a="threads 32"), table_of(a="threads 32"), whole=True) == []


def test_binaries_that_came_or_went_are_shown():
    shown = difference(table_of(a="threads 32"), table_of(b="threads 32"), whole=True)
    assert shown[-2:] == ["-a: threads 32", "+b: threads 32"]
    assert difference(table_of(""), table_of(b="threads 32"), whole=True)[-1] == "+b: threads 32"


def test_a_sample_is_compared_with_its_own_lines():
    committed = table_of(a="threads 32", b="threads 64", c="threads 32")
    assert difference(committed, table_of(b="threads 64"), whole=False) == []
    assert difference(committed, table_of(b="threads 32"), whole=False)[-2] == "-b: threads 64"


@pytest.mark.parametrize(
    ("now", "shown"),
    [
        ("registers 9", []),
        ("registers 9; cannot run: 9 of 8", ["+a: cannot run"]),
    ],
)
def test_of_another_triton_only_what_cannot_run_is_compared(now, shown):
    committed = table_of("triton 3.6.0", a="registers 8", b="not compiled; cannot run: no")
    compiled = table_of("triton 3.7.1", a=now, b="threads 1; cannot run: for another reason")
    assert difference(committed, compiled, whole=True)[3:] == shown


@pytest.mark.parametrize(
    ("version", "registers", "status", "words"),
    [
        (TRITON, 168, 0, "no difference from the committed tables\n"),
        (TRITON, 170, 1, "+a: threads 128, registers 170, shared 57600\n1 of 1 tables"),
        ("triton 2.1.0", 170, 0, "by triton 2.1.0, this is"),
    ],
)
def test_the_exit_status_says_whether_tables_differ(
    version, registers, status, words, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(tables, "FOLDER", tmp_path / "benchmarks" / "aot")
    table_of(version, a=str(NEEDED)).write()
    now = table_of(TRITON, a=str(NEEDED._replace(registers=registers)))
    assert compare([now], Console(), whole=True) == status
    assert words in capsys.readouterr().out


def test_the_summary_counts_and_takes_the_most():
    one, two, three = variants(["sm_86"])[::2][:3]
    text = rendered(summary({
        one: Built(NEEDED),
        two: Built(NEEDED._replace(shared=101377, registers=200, stack=24)),
        three: Built(None, "PTXASError: no"),
    }))  # fmt: skip
    row = " ".join(text.splitlines()[1].split())
    assert row == f"sm_86 {one.kernel} aligned 3 100 of 99 200 1 24 0 2"


def rendered(table):
    console = Console(width=120)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_the_name_of_a_config_holds_all_but_the_defaults():
    config = triton.Config({"BLOCK_SIZE_M": 16, "SPLIT": 2}, num_warps=8, num_stages=3, maxnreg=64)
    assert name_of(options_of(config)) == "BM16.SPLIT=2.w8.st3.maxnreg=64"


def test_no_two_binaries_share_a_name():
    names = [str(variant) for variant in variants(["sm_90"])]
    assert len(set(names)) == len(names) > 200


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--arch", "sm_75"], "invalid choice: 'sm_75'"),
        (["--sample", "3/3"], "want N/OF with N below OF, got '3/3'"),
        (["--sample", "1"], "want N/OF"),
        (["--sample", "9998/9999"], "the --sample holds no binary"),
        (["--update", "--sample", "0/2"], "--update writes whole tables"),
        (["fast"], "unrecognized arguments: fast"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(options)
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


def test_the_interpreter_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(SystemExit):
        main(["--arch", "sm_80"])
    assert "TRITON_INTERPRET is set" in capsys.readouterr().err

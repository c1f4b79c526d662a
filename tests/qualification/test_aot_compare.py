"""What is read of compilers, and how two revisions are compared, away from any compiler."""

import pytest
import triton

from qualification.aot import __main__ as command
from qualification.aot import compare, nvcc
from qualification.aot.__main__ import main
from qualification.aot.architectures import ARCHITECTURES
from qualification.aot.compare import Binary, CannotCompare, worse, worst_cases
from qualification.aot.resources import Built, Resources, of_amdgcn, res_usage
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


def binary(name="matmul a", kernel="matmul", failure="", **needs):
    built = Built(None, failure) if failure else Built(NEEDED._replace(**needs))
    return Binary.of("sm_86", kernel, name, built)


def test_what_cuobjdump_prints_is_read():
    (counts,) = res_usage(CUOBJDUMP).values()
    assert res_usage(CUOBJDUMP).keys() == {"transpose_matmul_248_kernel"}
    assert (counts["REG"], counts["STACK"], counts["SHARED"]) == (255, 696, 1024)


def test_launch_bounds_are_read():
    assert nvcc.most_threads(ELF) == {"_ZN7exllama15multiply_kernelILi4ELb0EEEv7product": 512}


def test_nvcc_compiles_for_all_of_nvidia_but_what_is_too_old():
    assert nvcc.targets(["sm_75", *ARCHITECTURES]) == [a for a in ARCHITECTURES if a != "gfx942"]


def test_the_metadata_of_amdgcn_is_read():
    assert of_amdgcn(AMDGCN, threads=256, shared=8192) == Resources(
        threads=256, registers=288, shared=8192, stack=12,
        scalar_registers=106, spilled_vectors=3, spilled_scalars=1043,
    )  # fmt: skip


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


def test_a_kernel_is_as_bad_as_its_worst_binary():
    large = binary("matmul b", shared=101377, registers=200, stack=24)
    (worst,) = worst_cases([binary(), large, binary("matmul c", failure="PTXASError: no")]).values()
    assert str(worst) == (
        "3 binaries, 200 registers, 101377 B shared, 24 B stack (1 spill), 2 CANNOT RUN"
    )


def test_a_kernel_that_has_not_changed_is_not_worse():
    assert worse([binary(stack=8)], [binary(stack=8)]) == ([], [])
    assert worse([binary(stack=8)], [binary(stack=0)]) == ([], [])


def test_more_registers_and_shared_memory_are_shown_and_break_nothing():
    changed, broken = worse([binary()], [binary(registers=170, shared=60000)])
    assert changed == ["sm_86 matmul: registers 168 -> 170", "sm_86 matmul: shared 57600 -> 60000"]
    assert broken == []


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (binary(stack=16), "spills (8, 0, 0) -> (16, 0, 0)"),
        (binary("matmul new", stack=16), "spills (8, 0, 0) -> (16, 0, 0)"),
        (binary(failure="PTXASError: no"), "cannot run: PTXASError: no"),
        (binary(shared=101377), "cannot run: needs 101377 bytes of shared memory"),
        (binary("other a", "other", stack=8), "spills (0, 0, 0) -> (8, 0, 0)"),
    ],
    ids=["more", "in a new binary", "not compiled", "too large", "in a new kernel"],
)
def test_new_spills_and_what_no_longer_runs_break(now, words):
    (broken,) = worse([binary(stack=8)], [now])[1]
    assert words in broken


def test_what_could_not_run_before_breaks_nothing():
    refused = binary(failure="PTXASError: no")
    assert worse([refused], [refused]) == ([], [])


@pytest.mark.parametrize(("stack", "status"), [(0, 0), (8, 1)])
def test_the_exit_status_says_whether_it_got_worse(stack, status, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    monkeypatch.setattr(command, "binaries_of", lambda *chosen: [binary(stack=stack)])
    monkeypatch.setattr(command, "built_of", lambda commit, words: [binary()])
    monkeypatch.setattr(command, "revision", lambda named: "0123456789abcdef")
    words = ["--arch", "sm_86", "--against", "v1", "--results", str(tmp_path)]
    assert main(words) == status
    printed = capsys.readouterr().out
    assert f"sm_86 matmul: 1 binaries, 168 registers, 57600 B shared, {stack} B stack" in printed
    assert f"against 0123456789ab: {status} worst cases grew, {status} binaries" in printed
    assert compare.read(tmp_path / "aot.json") == [binary(stack=stack)]


def test_a_revision_that_is_not_there_is_no_comparison():
    with pytest.raises(CannotCompare, match="no-such-revision"):
        compare.revision("no-such-revision")


def test_the_name_of_a_config_holds_all_but_the_defaults():
    config = triton.Config({"BLOCK_SIZE_M": 16, "SPLIT": 2}, num_warps=8, num_stages=3, maxnreg=64)
    assert name_of(options_of(config)) == "BM16.SPLIT=2.w8.st3.maxnreg=64"


def test_no_two_binaries_share_a_name():
    names = [str(variant) for variant in variants(["sm_90"])]
    assert len(set(names)) == len(names) > 200
    assert variants(["sm_90"], only="b4 f16") == [
        variant for variant in variants(["sm_90"]) if "b4 f16" in str(variant)
    ]


def test_the_interpreter_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(SystemExit):
        main(["--arch", "sm_80"])
    assert "TRITON_INTERPRET is set" in capsys.readouterr().err

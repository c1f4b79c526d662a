"""Widths of accesses are read off PTX as the compiler writes it."""

import pytest

from qualification.aot.widths import widths

PTX = {
    "ld.global.b16 { %rs1 }, [ %rd1 + 0 ];": {2: 1},
    "@%p3 ld.global.v4.b32 { %r1, %r2, %r3, %r4 }, [ %rd1 + 0 ];": {16: 1},
    "ld.global.L1::evict_last.L2::cache_hint.v2.b32 { %r1, %r2 }, [ %rd1 + 0 ], %rd9;": {8: 1},
    "st.global.v2.f16 [ %rd1 + 0 ], { %rs1, %rs2 };": {4: 1},
    "cp.async.cg.shared.global [ %r1 + 0 ], [ %rd2 + 0 ], 0x10, %r3;": {16: 1},
    "@%p1 cp.async.ca.shared.global [ %r1 + 0 ], [ %rd2 + 8 ], 0x4, 0x4;": {4: 1},
    "ld.shared.v4.b32 { %r1, %r2, %r3, %r4 }, [ %r9 ];": {},
    "st.shared.b16 [ %r9 ], %rs1;": {},
    "ld.param.b64 %rd1, [kernel_param_0];": {},
}


@pytest.mark.parametrize("line", PTX)
def test_each_access_of_global_memory_has_its_width(line):
    assert widths(line) == PTX[line]


def test_accesses_of_one_width_are_counted_together():
    assert widths("\n".join([*PTX, *PTX])) == {2: 2, 4: 4, 8: 2, 16: 4}

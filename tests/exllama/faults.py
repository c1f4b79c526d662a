"""Faults to put into the ExLlama kernels on purpose, and copies of the sources that have them.

Where a pattern is no longer in the source, the fault has to be written anew.
"""

import shutil

from gptq_fuzz.kernels.exllama import build as exllama_build

# name: file, what stands there (once), what stands there instead
FAULTS = {
    # L-48 AC-02: sums are read before they are handed over
    "barrier_before_sums_are_read": (
        "multiply.cu",
        "    __syncthreads();\n    if (warp < adding) {",
        "    if (warp < adding) {",
    ),
    # L-48 AC-02: half of the warps wait for the others, which are past it
    "barrier_in_a_branch": (
        "multiply.cu",
        "    __syncthreads();\n    if (warp < adding) {",
        "    if (warp < adding) {\n      __syncthreads();",
    ),
    # L-48: or written over before they are read
    "barrier_after_sums_are_read": (
        "multiply.cu",
        "    __syncthreads();\n  }\n}",
        "  }\n}",
    ),
    # AC-03: reconstructed weights are stored before they are there
    "barrier_in_reconstruction": ("reconstruct.cu", "  __syncthreads();\n", ""),
    # L-49
    "column_guard_of_the_result": ("multiply.cu", "column >= p.matrix.n", "column > p.matrix.n"),
    # L-51
    "column_guard_of_the_weights": ("reconstruct.cu", "column >= matrix.n", "column > matrix.n"),
    # L-49
    "column_guard_of_make_q4": (
        "rearrange.cu",
        "rows.rows() || column >= matrix.n",
        "rows.rows() || column > matrix.n",
    ),
    # MK-14
    "last_row_not_written": ("multiply.cu", "(row >= p.x.rows ||", "(row >= p.x.rows - 1 ||"),
    # L-52
    "last_column_block_not_written": (
        "multiply.cu",
        "{p.matrix.column_blocks * row_blocks,",
        "{(p.matrix.n / TILE_COLUMNS + (p.matrix.n < TILE_COLUMNS)) * row_blocks,",
    ),
    # L-50
    "remap_off_by_one": ("column_remap.cu", "row_of[element % k]", "row_of[(element + 1) % k]"),
    "remap_in_the_kernel": ("multiply.cu", "x.gathered[first + i]", "x.gathered[first]"),
    "remap_in_reconstruction": (
        "reconstruct.cu",
        "matrix.row_of ? matrix.row_of[sorted] : sorted",
        "sorted",
    ),
    # L-47
    "sums_not_zeroed": (
        "multiply.cu",
        "float sums[ROW_TILES][FRAGMENTS][4] = {};",
        "float sums[ROW_TILES][FRAGMENTS][4];",
    ),
    "sum_of_parts_not_zeroed": ("column_remap.cu", "float sum = 0.0f;", "float sum;"),
    # L-47: each part of K writes where the first does
    "parts_meet": ("multiply.cu", "p.partial[blockIdx.y * ", "p.partial[0 * "),
}
PLUGIN = """
from pathlib import Path
from gptq_fuzz.kernels.exllama import build as exllama_build
exllama_build.SOURCES = Path({folder!r})
from gptq_fuzz.adapters.exllama import EXLLAMA as FAULTY
"""


def copied(folder, name):
    """A plug-in file in `folder` whose attribute FAULTY has fault `name`, none for ""."""
    sources = folder / "ext"
    shutil.copytree(exllama_build.SOURCES, sources)
    if name:
        file, right, wrong = FAULTS[name]
        path = sources / file
        path.write_text(path.read_text().replace(right, wrong))
    plugin = sources / "plugin.py"
    plugin.write_text(PLUGIN.format(folder=str(sources)))
    return plugin

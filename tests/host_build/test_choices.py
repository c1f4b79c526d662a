"""Parts of the extension by themselves, on the CPU: what is chosen, kept and reported."""

import pytest

from tests.host_build import programs

PROGRAM = """
#include <cstdio>
#include "device.h"
namespace exllama {
using any_kernel = void (*)();
any_kernel asked_for;
grid_size asked_grid;
// Taken before the other launch, as its kernel has one argument: notes what would be run.
template <class P>
void launch(const char*, void (*kernel)(P), grid_size size, int, stream_handle, P) {
  asked_for = reinterpret_cast<any_kernel>(kernel);
  asked_grid = size;
}
}
#include "multiply.cu"
#include "registry.h"
using namespace exllama;
template <int TILES>
void print_kernel() {
  const any_kernel known[] = {reinterpret_cast<any_kernel>(&multiply_kernel<TILES, false, false>),
                              reinterpret_cast<any_kernel>(&multiply_kernel<TILES, false, true>),
                              reinterpret_cast<any_kernel>(&multiply_kernel<TILES, true, false>),
                              reinterpret_cast<any_kernel>(&multiply_kernel<TILES, true, true>)};
  for (int i = 0; i < 4; ++i)
    if (asked_for == known[i]) std::printf("%d %d %d ", TILES, i / 2, i % 2);
}
q4_matrix matrix_of_rows(int64_t k) {
  q4_matrix matrix;
  matrix.k = k;
  matrix.n = 64;
  matrix.chunks = (k + CHUNK_ROWS - 1) / CHUNK_ROWS;
  matrix.column_blocks = 2;
  return matrix;
}
void print_launch(int rows, int k, bool half2_codes) {
  const activations x{{}, rows, k, true, {}};
  multiply(matrix_of_rows(k), x, {}, {}, 1, half2_codes, {});
  print_kernel<1>();
  print_kernel<2>();
  print_kernel<4>();
  std::printf("%d", static_cast<int>(asked_grid.x));
}
void print_buffers() {
  device_buffers& first = state().make_buffers(-1);
  first.temp_state.elements = 7;
  std::printf("%d %d", &state().make_buffers(-1) == &first,
              static_cast<int>(state().make_buffers(-1).temp_state.elements));
}
void print_fault() {
  static int numbers[3];
  try {
    make_span(numbers, 3)[3] = 1;
  } catch (const std::exception& error) {
    std::printf("%s", error.what());
  }
}
int main(int count, char** words) {
  static char memory[64];
  const std::string what = words[1];
  int given[5] = {};
  for (int i = 2; i < count; ++i) given[i - 2] = std::atoi(words[i]);
  const auto [a, b, c, d, e] = given;
  if (what == "launch") print_launch(a, b, c);
  if (what == "reconstructs") std::printf("%d", reconstructs(a, b));
  if (what == "workspace") {
    const plan chosen = make_plan(matrix_of_rows(a), b, {0, false, false}, {4, 2});
    std::printf("%d %lld", chosen.splits, static_cast<long long>(chosen.workspace_bytes));
  }
  if (what == "overlap") std::printf("%d", overlap({memory + a, b}, {memory + c, d}));
  if (what == "drop") {
    uint32_t words_of_lane[4] = {~0u, ~0u, ~0u, ~0u};
    drop_rows(words_of_lane, a, b);
    for (uint32_t word : words_of_lane) std::printf("%08x ", word);
  }
  if (what == "buffers") print_buffers();
  if (what == "fault") print_fault();
}
"""
pytestmark = programs.needs_compiler


@pytest.mark.parametrize("half2", [0, 1])
@pytest.mark.parametrize(("k", "whole"), [(64, 1), (72, 0)])
@pytest.mark.parametrize(
    ("rows", "tiles", "blocks"),
    [(1, 1, 1), (8, 1, 1), (9, 2, 1), (16, 2, 1), (17, 4, 1), (32, 4, 1), (33, 4, 2), (64, 4, 2)],
)
def test_the_kernel_is_the_one_for_these_rows_and_codes(ask, rows, tiles, blocks, k, whole, half2):
    """Weights are read once for 32 rows of x. There are two blocks of columns."""
    assert ask("launch", rows, k, half2) == [str(n) for n in (tiles, whole, half2, 2 * blocks)]


@pytest.mark.parametrize(
    ("threshold", "rows", "does"),
    [(0, 1, 0), (0, 10_000, 0), (8, 8, 0), (8, 127, 0), (8, 128, 1), (200, 199, 0), (200, 200, 1),
     (-8, 7, 0), (-8, 8, 1), (-1, 1, 1), (-200, 199, 0), (-200, 200, 1)],
)  # fmt: skip
def test_weights_are_reconstructed_from_the_threshold_on_where_it_pays(ask, threshold, rows, does):
    """As set_tuning_params documents it."""
    assert ask("reconstructs", threshold, rows) == [str(does)]


@pytest.mark.parametrize(("k", "rows", "splits"), [(32, 3, 1), (96, 3, 1), (128, 3, 2)])
def test_only_parts_of_k_take_memory_for_their_sums(ask, k, rows, splits):
    """None where a block sums all of K and writes the result itself."""
    sums = splits * rows * 64 if splits > 1 else 0
    assert ask("workspace", k, rows) == [str(splits), str(4 * sums)]


@pytest.mark.parametrize(
    ("a", "b", "overlap"),
    [((0, 16), (4, 4), 1), ((0, 5), (4, 1), 1), ((0, 4), (4, 1), 0), ((4, 1), (0, 4), 0),
     ((4, 0), (0, 16), 0), ((0, 16), (4, 0), 0), ((4, 0), (4, 0), 0)],
)  # fmt: skip
def test_memory_overlaps_where_it_has_a_byte_in_common(ask, a, b, overlap):
    """Nothing lies in the middle of nothing: (first byte, how many)."""
    assert ask("overlap", *a, *b) == [str(overlap)]


@pytest.mark.bug("L-50")
@pytest.mark.parametrize("rows", range(9))
@pytest.mark.parametrize("row", [0, 4])
def test_rows_that_a_chunk_does_not_have_become_zero(ask, row, rows):
    """Two rows a word, the same four for both columns of a lane."""
    there = [row + i < rows for i in range(4)]
    words = [0xFFFF * first + 0xFFFF0000 * second for first, second in (there[:2], there[2:])]
    wanted = [words[0], words[0], words[1], words[1]]
    assert ask("drop", row, rows) == [f"{word:08x}" for word in wanted]


def test_buffers_of_a_device_are_created_once(ask):
    """With their event, for which the next preparation waits."""
    assert ask("buffers") == ["1", "7"]


def test_an_index_outside_a_buffer_and_outside_a_kernel_names_no_block(ask):
    assert " ".join(ask("fault")) == "index 3 is outside a buffer of 3 elements"

"""Kernels count in 64 bits: single threads of them, run on the CPU far into memory.

Such memory is only reserved, at most 14 GB: what no thread touches takes no room. A place past 2^31
elements must get what the same place gets near the beginning.
"""

import pytest

from tests.host_build import programs

PROGRAM = """
#include <cstdio>
#include <sys/mman.h>
#include <sys/resource.h>
#include "column_remap.cu"
#include "reconstruct.cu"
#include "rearrange.cu"
#include "plan.h"
#include "rows.h"
using namespace exllama;
constexpr int NO_ROOM = 3;
template <class T>
span<T> room(int64_t count) {
  void* start = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) std::exit(NO_ROOM);
  return make_span(static_cast<T*>(start), count);
}
void become_thread_of(int64_t element) {
  blockIdx = {static_cast<unsigned>(element / ELEMENT_THREADS)};
  threadIdx = {static_cast<unsigned>(element % ELEMENT_THREADS)};
}
void print(int64_t number) { std::printf("%lld ", static_cast<long long>(number)); }
q4_matrix matrix(int64_t blocks, int64_t groups, int64_t n) {
  q4_matrix result;
  result.k = 32;
  result.n = n;
  result.groups = groups;
  result.chunks = 1;
  result.column_blocks = blocks;
  return result;
}
span<chunk> table_of(chunk only) {
  const span<chunk> table = room<chunk>(1);
  table[0] = only;
  return table;
}
void sums(int64_t element) {
  const int64_t elements = element + 1;
  const span<float> partial = room<float>(elements);
  const span<half> out = room<half>(elements);
  partial[element] = 1.5f;
  become_thread_of(element);
  sum_kernel(partial, 1, elements, out);
  print(out[element].bits);
}
// Column 67 of the last group, in the last of three blocks.
void scales(int64_t groups) {
  const q4_matrix given = matrix(3, groups, 96);
  const span<uint32_t> qzeros = room<uint32_t>(groups * 12), words = room<uint32_t>(groups * 96);
  const span<half> scales = room<half>(groups * 96);
  const int64_t place = (groups - 1) * 96 + 67, element = (3 * groups - 1) * 32 + 3;
  qzeros[place / 8] = 0x12345678;
  scales[place] = half_of_bits(0x3c01);
  become_thread_of(element);
  scales_kernel(given, qzeros, scales, words);
  for (int i = 0; i < 32; ++i) print(words[element - 3 + i]);
}
void tile(int64_t groups) {
  q4_matrix given = matrix(3, groups, 96);
  given.table = table_of({0, static_cast<int32_t>((groups - 1) << ROW_COUNT_BITS | 32)});
  const span<uint32_t> codes = room<uint32_t>(3 * WORDS_PER_CHUNK);
  const span<uint32_t> scales = room<uint32_t>(groups * 96);
  for (int i = 0; i < 32; ++i) scales[(3 * groups - 1) * 32 + i] = 0x64000000 | (0x3c00 + i);
  for (int i = 0; i < WORDS_PER_CHUNK; ++i) codes[2 * WORDS_PER_CHUNK + i] = 0x76543210 + i;
  given.codes = codes;
  given.scales = scales;
  const span<half> weights = room<half>(TILE);
  for (int lane = 0; lane < 32; ++lane) fill_tile<false>(given, 2, lane, weights);
  for (int i = 0; i < 64; ++i) print(weights[i].bits);
}
// The last block of columns, of which there is one row.
void stored(int64_t blocks) {
  q4_matrix given = matrix(blocks, 1, blocks * 32);
  given.table = table_of({0, 1});
  const span<half> tile = room<half>(TILE), dense = room<half>(given.n);
  for (int i = 0; i < TILE; ++i) tile[i] = half_of_bits(i + 1);
  for (int lane = 0; lane < 32; ++lane) store_tile(given, blocks - 1, lane, tile, dense, true);
  for (int i = 0; i < 32; ++i) print(dense[(blocks - 1) * 32 + i].bits);
}
void sizes(int64_t rows, int64_t chunks) {
  q4_matrix given = matrix(1 << 13, 1, 8);
  given.chunks = chunks;
  static int32_t row = 0;
  given.row_of = make_span(&row, 1);
  print(given.code_words());
  print(make_plan(given, rows, {0, false, false}, {4, 2}).temp_state_elements);
}
void groups(int64_t count) {
  for (const chunk& one : plan_rows(nullptr, 8 * count, count).table) print(one.group());
}
// A product of nothing with so many columns, in little memory.
void product(int64_t columns, int64_t rows) {
  const rlimit little{1 << 30, 1 << 30};
  setrlimit(RLIMIT_AS, &little);
  try {
    gemm_handle().run({}, nullptr, {}, 0, {}, {}, rows, columns, rows);
    print(1);
  } catch (const std::bad_alloc&) {
    print(0);
  }
}
int main(int, char** words) {
  const std::string what = words[1];
  const int64_t number = std::strtoll(words[2], nullptr, 10);
  if (what == "sums") sums(number);
  if (what == "scales") scales(number);
  if (what == "tile") tile(number);
  if (what == "stored") stored(number);
  if (what == "sizes") sizes(number, std::strtoll(words[3], nullptr, 10));
  if (what == "groups") groups(number);
  if (what == "product") product(number, std::strtoll(words[3], nullptr, 10));
}
"""
GROUPS = 22_400_000  # times 96 columns: just past 2^31, in 14 GB of addresses
pytestmark = programs.needs_compiler


@pytest.mark.bug("L-73 OV-01")
@pytest.mark.parametrize(
    ("what", "near", "far"),
    [("sums", 5, 2**31 + 5), ("scales", 2, GROUPS), ("tile", 2, GROUPS), ("stored", 2, 2**26 + 1)],
)
def test_a_place_past_two_billion_elements_is_as_good_as_another(numbers, what, near, far):
    """A partial sum; scales stored and read; a column of weights written out."""
    wanted = numbers(what, near)
    assert any(wanted)
    assert numbers(what, far) == wanted


@pytest.mark.bug("OV-02")
def test_sizes_past_32_bits_are_whole(numbers):
    """Words of codes; elements of x in another order."""
    assert numbers("sizes", 2**31 + 3, 2**13) == [2**26 * 128, 32 * (2**31 + 3)]


@pytest.mark.bug("L-55")
def test_each_of_many_groups_has_its_number(numbers):
    """512 of them took 16 bits with the count of rows beside them."""
    assert numbers("groups", 2000) == list(range(2000))


@pytest.mark.bug("OV-03")
def test_a_product_is_not_taken_for_one_of_fewer_columns(numbers):
    """A row of sums past 2^32 has no room here; one of the low 32 bits would have."""
    assert numbers("product", 8, 0) == [1]
    assert numbers("product", 2**32 + 8, 0) == [0]

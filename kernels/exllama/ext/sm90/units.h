// How weights lie in memory for the kernels of compute capability 9.0.
//
// Rows of K are sorted by group and cut into units of UNIT_ROWS, columns into tiles of TILE_WIDTH.
// A unit of a tile is its codes in the order in which tensor cores take them, then a word for each
// column: scale and zero-point. Where groups are not whole units, each BLOCK_ROWS rows of a unit
// have such words of their own. The units of a tile follow each other, so that one bulk copy brings
// several. Tiles are filled up to whole SLABS; what lies past K or N is 0.
#pragma once

#include <cstdint>

#include "../layout.h"

namespace exllama::sm90 {

constexpr int UNIT_ROWS = 128;
constexpr int BLOCK_ROWS = 32;  // a group is a multiple of this, or the kernels here do not serve it
constexpr int TILE_WIDTH = 32;
constexpr int SLAB_TILES = 8;  // the most that one block of threads multiplies
constexpr int CODE_BYTES = UNIT_ROWS * TILE_WIDTH / 2;
constexpr int SCALE_BYTES = TILE_WIDTH * 4;  // of one set
constexpr int UNIT_WORDS = CODE_BYTES / 4;
constexpr int HALF_BYTES = 512;       // 64 rows of a fragment of 16 columns: 16 bytes a lane
constexpr int FRAGMENT_BYTES = 1024;  // 128 rows of it

template <int SETS>
constexpr int UNIT_BYTES = CODE_BYTES + SETS * SCALE_BYTES;

// The place of a code: rows count from its unit's first, columns from its tile's.
//
// A word is a lane's share of a 16 x 16 fragment. Its fields begin at bits 2, 6, 10 and 14 (which
// goes on at bit 0) of each half of the word, so that the first two become numbers by one LOP3 each
// (256 + q and 16 + q), and the others by the same two once the bytes of each half are swapped.
struct unit_code {
  int row, column, shift;  // the field is rotated left by `shift` in its 16 bits
  bool high;               // these 16 bits are the upper ones

  __host__ __device__ unit_code(int word, int field) {
    const int lane = word / 4 % LANES, step = word % 4, half = word / (4 * LANES);
    const int upper_column = field / 2 % 2, upper_row = field / 4;
    high = field % 2;
    row = half % 2 * 64 + step * 16 + upper_row * 8 + lane % 4 * 2 + field % 2;
    column = half / 2 * 16 + upper_column * 8 + lane / 4;
    shift = 2 + 4 * upper_column + 8 * upper_row;
  }
};

// The column of a word of scales: a lane finds the four that it multiplies side by side.
__host__ __device__ constexpr int column_of_scale(int word) {
  return word / 2 % 2 * 16 + word % 2 * 8 + word / 4;
}

// 256 + z or 16 + z as a half, as codes of that column are read.
__host__ __device__ constexpr uint32_t biased_zero(int column, uint32_t zero) {
  return column / 8 % 2 == 0 ? 0x5c00 | zero << 2 : 0x4c00 | zero << 6;
}

struct unit_matrix {
  int64_t k = 0, n = 0;
  int units = 0, tiles = 0;     // of K; of N, whole slabs
  int sets = 1;                 // of scales in a unit: 1, or one for each BLOCK_ROWS rows
  span<const uint8_t> bytes{};  // [tiles, units, unit_bytes()]
  span<const int32_t> row_of{};  // as q4_matrix has it

  __host__ __device__ int unit_bytes() const { return CODE_BYTES + sets * SCALE_BYTES; }
  __host__ __device__ int64_t all_units() const { return int64_t{tiles} * units; }
};

}  // namespace exllama::sm90

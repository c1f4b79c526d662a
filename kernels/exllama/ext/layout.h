// How weights lie in our own memory, and how the kernels see them.
//
// Rows of K are sorted by group and cut into chunks of up to CHUNK_ROWS rows of one group; columns
// are cut into blocks of TILE_COLUMNS, the last one filled up. A chunk of a column block is
// WORDS_PER_CHUNK words: for each lane of a warp the 4 words (32 codes) that it multiplies, in the
// order in which tensor cores take them, so that a warp reads 512 bytes in a row.
#pragma once

#include <cstdint>

#include "device.h"

namespace exllama {

constexpr int BITS = 4;
constexpr int PACK_FACTOR = 32 / BITS;
constexpr int CODE_MASK = (1 << BITS) - 1;
constexpr int ZERO_OFFSET = 1;  // checkpoints store the zero-point minus one, modulo 16

constexpr int LANES = 32;
constexpr int CHUNK_ROWS = 32;
constexpr int TILE_COLUMNS = 32;
constexpr int MAX_TILE_ROWS = 32;  // of x, that one block multiplies
constexpr int WORDS_PER_LANE = 4;
constexpr int WORDS_PER_CHUNK = LANES * WORDS_PER_LANE;
constexpr int WORDS_PER_GROUP = TILE_COLUMNS;  // scale and zero-point of each column, a word each
constexpr int ROWS_PER_LANE = 8;               // of a chunk: the lanes of a quad share its rows
constexpr int FRAGMENT_COLUMNS = 16;
constexpr int ZERO_SHIFT = 16;  // in a word of scales: the scale is below, the zero-point above
constexpr int ROW_COUNT_BITS = 6;
constexpr int64_t MAX_GROUPS = int64_t{1} << (31 - ROW_COUNT_BITS);

// A lane's first column in a fragment, and its first row in a chunk.
__device__ __forceinline__ int column_of_lane(int lane) { return lane / 4; }
__device__ __forceinline__ int row_of_lane(int lane) { return lane % 4 * ROWS_PER_LANE; }

struct chunk {
  int32_t first_row;       // among the sorted rows
  int32_t group_and_rows;  // group << ROW_COUNT_BITS | number of rows

  __host__ __device__ int rows() const {
    return group_and_rows & ((1 << ROW_COUNT_BITS) - 1);
  }
  __host__ __device__ int group() const { return group_and_rows >> ROW_COUNT_BITS; }
};

struct code_place {
  int row, column;  // in the chunk, in the column block
};

// Which code field `field` of word `word` of a lane is. A word is one 16 x 16 fragment's share of
// the lane: 4 pairs of rows that follow each other, the second of a pair 16 bits above the first.
__device__ __forceinline__ code_place place_of_code(int lane, int word, int field) {
  const int pair = field % 4;
  const int row = row_of_lane(lane) + word % 2 * 4 + pair / 2 * 2 + field / 4;
  const int column = word / 2 * FRAGMENT_COLUMNS + pair % 2 * 8 + column_of_lane(lane);
  return {row, column};
}

// The word of a group's scales that holds a column: a lane finds its four side by side.
__device__ __forceinline__ int scale_word_of_column(int column) {
  return column % 8 * 4 + column / 8;
}

struct q4_matrix {
  int64_t k = 0, n = 0, groups = 0;
  int64_t chunks = 0, column_blocks = 0;
  span<const uint32_t> codes;   // [column_blocks, chunks, LANES, WORDS_PER_LANE]
  span<const uint32_t> scales;  // [column_blocks, groups, WORDS_PER_GROUP]
  span<const chunk> table;      // [chunks]
  span<const int32_t> row_of;   // [k], the row that sorted row i was; null where none moved

  __host__ __device__ int64_t code_words() const {
    return column_blocks * chunks * WORDS_PER_CHUNK;
  }
  __host__ __device__ int64_t scale_words() const {
    return column_blocks * groups * WORDS_PER_GROUP;
  }
};

}  // namespace exllama

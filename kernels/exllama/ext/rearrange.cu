// make_q4: the caller's words -> ours.
#include "dequantize.cuh"
#include "elements.cuh"
#include "kernels.h"

namespace exllama {

namespace {

// A thread makes one word.
__global__ void codes_kernel(q4_matrix matrix, span<const uint32_t> qweight,
                             span<uint32_t> codes) {
  const int64_t word = element_of_thread();
  if (word >= matrix.code_words()) return;
  const int in_chunk = static_cast<int>(word % WORDS_PER_CHUNK);
  const int64_t column_block = word / WORDS_PER_CHUNK / matrix.chunks;
  const chunk rows = matrix.table[word / WORDS_PER_CHUNK % matrix.chunks];
  uint32_t result = 0;
  for (int field = 0; field < PACK_FACTOR; ++field) {
    const code_place place =
        place_of_code(in_chunk / WORDS_PER_LANE, in_chunk % WORDS_PER_LANE, field);
    const int64_t column = column_block * TILE_COLUMNS + place.column;
    if (place.row >= rows.rows() || column >= matrix.n) continue;
    const int64_t sorted = rows.first_row + place.row;
    const int64_t row = matrix.row_of ? matrix.row_of[sorted] : sorted;
    const uint32_t packed = qweight[row / PACK_FACTOR * matrix.n + column];
    result |= (packed >> (row % PACK_FACTOR * BITS) & CODE_MASK) << (field * BITS);
  }
  codes[word] = result;
}

// A thread makes the word of one group and column; columns past N get 0 and 0.
__global__ void scales_kernel(q4_matrix matrix, span<const uint32_t> qzeros,
                              span<const half> scales, span<uint32_t> words) {
  const int64_t element = element_of_thread();
  if (element >= matrix.scale_words()) return;
  const int in_block = static_cast<int>(element % TILE_COLUMNS);
  const int64_t group = element / TILE_COLUMNS % matrix.groups;
  const int64_t column = element / TILE_COLUMNS / matrix.groups * TILE_COLUMNS + in_block;
  uint32_t result = 0;
  if (column < matrix.n) {
    const int64_t place = group * matrix.n + column;
    const uint32_t stored = qzeros[place / PACK_FACTOR] >> (column % PACK_FACTOR * BITS);
    const uint32_t zero = (stored + ZERO_OFFSET) & CODE_MASK;
    result = bits_of_half(scales[place]) | zero_bits(in_block, zero) << ZERO_SHIFT;
  }
  words[element - in_block + scale_word_of_column(in_block)] = result;
}

}  // namespace

void rearrange_codes(const q4_matrix& matrix, span<const uint32_t> qweight, span<uint32_t> codes,
                     stream_handle stream) {
  launch_without_barriers("rearrange_codes", codes_kernel, blocks_for(matrix.code_words()),
                          ELEMENT_THREADS, stream, matrix, qweight, codes);
}

void rearrange_scales(const q4_matrix& matrix, span<const uint32_t> qzeros,
                      span<const half> scales, span<uint32_t> words, stream_handle stream) {
  launch_without_barriers("rearrange_scales", scales_kernel, blocks_for(matrix.scale_words()),
                          ELEMENT_THREADS, stream, matrix, qzeros, scales, words);
}

}  // namespace exllama

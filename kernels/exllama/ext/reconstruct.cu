// The weights themselves, float16 [K, N], for a matrix product of another library.
#include "dequantize.cuh"
#include "kernels.h"

namespace exllama {

namespace {

constexpr int WARPS = 4;
constexpr int OCTET = 8;  // halves that one store writes
constexpr int OCTETS_IN_ROW = TILE_COLUMNS / OCTET;
constexpr int TILE = CHUNK_ROWS * TILE_COLUMNS;

// Unit `number` is one chunk of one column block; its weights go to `tile`, row by row.
template <bool HALF2>
__device__ __forceinline__ void fill_tile(const q4_matrix& matrix, int64_t number, int lane,
                                          span<half> tile) {
  const int64_t group = matrix.table[number % matrix.chunks].group();
  const int64_t block = number / matrix.chunks;
  const int64_t scales = (block * matrix.groups + group) * WORDS_PER_GROUP;
  const uint4 pairs = load_words(matrix.scales, scales + column_of_lane(lane) * 4);
  const uint4 read = load_streaming(matrix.codes, number * WORDS_PER_CHUNK + lane * 4);
  const uint32_t codes[WORDS_PER_LANE] = {read.x, read.y, read.z, read.w};
  const column_pair<HALF2> columns[] = {{pairs.x, pairs.y}, {pairs.z, pairs.w}};
#pragma unroll
  for (int word = 0; word < WORDS_PER_LANE; ++word) {
    uint32_t weights[4];
    columns[word / 2].dequantize(codes[word], weights);
#pragma unroll
    for (int field = 0; field < PACK_FACTOR; ++field) {
      const code_place place = place_of_code(lane, word, field);
      const uint32_t bits = weights[field % 4] >> (field / 4 * 16) & 0xffff;
      tile[place.row * TILE_COLUMNS + place.column] = half_of_bits(bits);
    }
  }
}

__device__ __forceinline__ void store_tile(const q4_matrix& matrix, int64_t number, int lane,
                                           span<const half> tile, span<half> dense,
                                           bool aligned) {
  const chunk here = matrix.table[number % matrix.chunks];
  const int64_t first_column = number / matrix.chunks * TILE_COLUMNS;
#pragma unroll
  for (int i = lane; i < CHUNK_ROWS * OCTETS_IN_ROW; i += LANES) {
    const int64_t column = first_column + i % OCTETS_IN_ROW * OCTET;
    if (i / OCTETS_IN_ROW >= here.rows() || column >= matrix.n) continue;
    const int64_t sorted = here.first_row + i / OCTETS_IN_ROW;
    const int64_t row = matrix.row_of ? matrix.row_of[sorted] : sorted;
    const int64_t element = row * matrix.n + column;
    if (aligned) {
      store_octet(dense, element, load_octet(tile, i * OCTET));
      continue;
    }
    for (int j = 0; j < OCTET; ++j) dense[element + j] = tile[i * OCTET + j];
  }
}

template <bool HALF2>
__global__ void __launch_bounds__(WARPS* LANES)
    reconstruct_kernel(q4_matrix matrix, span<half> dense, bool aligned) {
  SHARED_ARRAY(half, tiles, WARPS * TILE);
  const int lane = threadIdx.x % LANES, warp = threadIdx.x / LANES;
  const int64_t number = static_cast<int64_t>(blockIdx.x) * WARPS + warp;
  const bool present = number < matrix.column_blocks * matrix.chunks;
  if (present) fill_tile<HALF2>(matrix, number, lane, tiles + warp * TILE);
  __syncthreads();
  if (present) store_tile(matrix, number, lane, tiles + warp * TILE, dense, aligned);
}

}  // namespace

void reconstruct(const q4_matrix& matrix, span<half> dense, bool aligned, bool half2_codes,
                 stream_handle stream) {
  const int64_t units = matrix.column_blocks * matrix.chunks;
  launch("reconstruct", half2_codes ? reconstruct_kernel<true> : reconstruct_kernel<false>,
         {(units + WARPS - 1) / WARPS}, WARPS * LANES, stream, matrix, dense, aligned);
}

}  // namespace exllama

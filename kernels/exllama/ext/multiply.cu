// x times 4-bit weights, without writing the weights anywhere: codes go from memory into registers,
// become float16 there and meet x in tensor cores, which sum in float32.
//
// A block makes TILE_COLUMNS columns of up to MAX_TILE_ROWS rows. Its warps share the chunks of K
// and add up what they have at the end, always in the same order.
#include "dequantize.cuh"
#include "kernels.h"

namespace exllama {

namespace {

constexpr int MAX_WARPS = 16;
constexpr int TILE_ROWS = 8;
constexpr int FRAGMENTS = TILE_COLUMNS / FRAGMENT_COLUMNS;

// Chunks that a warp has asked for before it multiplies the first: what registers have room for.
template <int ROW_TILES, bool WHOLE>
constexpr int IN_FLIGHT = (ROW_TILES == 1 ? 6 : ROW_TILES == 2 ? 4 : 2) / (WHOLE ? 1 : 2);

struct product {
  q4_matrix matrix;
  activations x;
  span<half> out;
  span<float> partial;  // null: the sums go to out
  unsigned row_blocks;
  int chunks_per_split;
};

// Where a lane's share of chunk 0, group 0 and column 0 lies.
template <int ROW_TILES>
struct lane_view {
  span<const uint32_t> codes, scales;
  span<const half> x[ROW_TILES];
  bool present[ROW_TILES];  // whether there is such a row
  int first_row;            // of the lane, in a chunk
};

// Everything that a lane reads of one chunk. Where it has no row of x, that stays 0.
template <int ROW_TILES>
struct operands {
  chunk rows;
  uint4 codes, scales;
  uint4 x[ROW_TILES] = {};
};

template <int ROW_TILES>
__device__ __forceinline__ lane_view<ROW_TILES> view_of(const product& p, int64_t column_block,
                                                        int64_t first_row, int lane) {
  lane_view<ROW_TILES> view;
  view.first_row = row_of_lane(lane);
  view.codes = p.matrix.codes + column_block * p.matrix.chunks * WORDS_PER_CHUNK +
               lane * WORDS_PER_LANE;
  view.scales = p.matrix.scales + column_block * p.matrix.groups * WORDS_PER_GROUP +
                column_of_lane(lane) * 4;
#pragma unroll
  for (int tile = 0; tile < ROW_TILES; ++tile) {
    const int64_t row = first_row + tile * TILE_ROWS + column_of_lane(lane);
    view.present[tile] = row < p.x.rows;
    view.x[tile] = p.x.values + row * p.x.stride;
  }
  return view;
}

__device__ __forceinline__ int least(int a, int b) { return a < b ? a : b; }

__device__ __forceinline__ chunk chunk_at(const q4_matrix& matrix, int number, int end) {
  return number < end ? matrix.table[number] : chunk{0, 0};
}

// `count` columns of one row of x, from sorted row `first` on.
__device__ __forceinline__ uint4 gather(const activations& x, span<const half> row, int64_t first,
                                        int count) {
  uint32_t words[4] = {0, 0, 0, 0};
#pragma unroll
  for (int i = 0; i < ROWS_PER_LANE; ++i) {
    if (i >= count) continue;
    const int64_t column = x.gathered ? x.gathered[first + i] : first + i;
    words[i / 2] |= bits_of_half(row[column]) << (i % 2 * 16);
  }
  return {words[0], words[1], words[2], words[3]};
}

// WHOLE: every chunk has all its rows, and those of x lie side by side on vector boundaries.
template <bool WHOLE, int ROW_TILES>
__device__ __forceinline__ void load(const product& p, const lane_view<ROW_TILES>& view,
                                     int number, chunk rows, operands<ROW_TILES>& loaded) {
  loaded.rows = rows;
  loaded.codes = load_streaming(view.codes, int64_t{number} * WORDS_PER_CHUNK);
  loaded.scales = load_words(view.scales, int64_t{rows.group()} * WORDS_PER_GROUP);
#pragma unroll
  for (int tile = 0; tile < ROW_TILES; ++tile) {
    if (!view.present[tile]) continue;
    if (WHOLE)
      loaded.x[tile] = load_octet(view.x[tile], int64_t{number} * CHUNK_ROWS + view.first_row);
    else
      loaded.x[tile] = gather(p.x, view.x[tile], rows.first_row + view.first_row,
                            rows.rows() - view.first_row);
  }
}

template <bool WHOLE, bool HALF2, int ROW_TILES>
__device__ __forceinline__ void multiply_chunk(const operands<ROW_TILES>& given, int lane,
                                               float (&sums)[ROW_TILES][FRAGMENTS][4]) {
  const uint32_t codes[4] = {given.codes.x, given.codes.y, given.codes.z, given.codes.w};
  const column_pair<HALF2> columns[] = {{given.scales.x, given.scales.y},
                                        {given.scales.z, given.scales.w}};
#pragma unroll
  for (int word = 0; word < WORDS_PER_LANE; ++word) {
    uint32_t weights[4];
    columns[word / 2].dequantize(codes[word], weights);
    if (!WHOLE) drop_rows(weights, row_of_lane(lane) + word % 2 * 4, given.rows.rows());
#pragma unroll
    for (int tile = 0; tile < ROW_TILES; ++tile) {
      const uint4& x = given.x[tile];
      const uint32_t pairs[2] = {word % 2 ? x.z : x.x, word % 2 ? x.w : x.y};
      mma_16x8x16(sums[tile][word / 2], weights, pairs);
    }
  }
}

// The warps' sums into those of warp 0: half of the warps add what the other half has, and so on.
template <int ROW_TILES>
__device__ __forceinline__ void add_up(int warps, int warp, int lane,
                                       float (&sums)[ROW_TILES][FRAGMENTS][4]) {
  constexpr int SUMS = ROW_TILES * FRAGMENTS * 4;
  SHARED_ARRAY(float, handed_over, MAX_WARPS / 2 * SUMS * LANES);
  for (int adding = warps / 2; adding > 0; adding /= 2) {
    const int place = warp % adding * SUMS * LANES + lane;
    if (warp >= adding && warp < 2 * adding) {
#pragma unroll
      for (int i = 0; i < SUMS; ++i)
        handed_over[place + i * LANES] = sums[i / 4 / FRAGMENTS][i / 4 % FRAGMENTS][i % 4];
    }
    __syncthreads();
    if (warp < adding) {
#pragma unroll
      for (int i = 0; i < SUMS; ++i)
        sums[i / 4 / FRAGMENTS][i / 4 % FRAGMENTS][i % 4] += handed_over[place + i * LANES];
    }
    __syncthreads();
  }
}

template <int ROW_TILES>
__device__ __forceinline__ void store(const product& p, int64_t column_block, int64_t first_row,
                                      int lane, const float (&sums)[ROW_TILES][FRAGMENTS][4]) {
#pragma unroll
  for (int tile = 0; tile < ROW_TILES; ++tile) {
#pragma unroll
    for (int i = 0; i < FRAGMENTS * 4; ++i) {
      const int64_t row = first_row + tile * TILE_ROWS + lane % 4 * 2 + i % 2;
      const int64_t column = column_block * TILE_COLUMNS + i / 2 * 8 + column_of_lane(lane);
      if (row >= p.x.rows || column >= p.matrix.n) continue;
      const float sum = sums[tile][i / 4][i % 4];
      const int64_t element = row * p.matrix.n + column;
      if (p.partial)
        p.partial[blockIdx.y * p.x.rows * p.matrix.n + element] = sum;
      else
        p.out[element] = __float2half_rn(sum);
    }
  }
}

template <int ROW_TILES, bool WHOLE, bool HALF2>
__global__ void __launch_bounds__(MAX_WARPS * LANES) multiply_kernel(product p) {
  constexpr int DEPTH = IN_FLIGHT<ROW_TILES, WHOLE>;
  const int lane = threadIdx.x % LANES, warp = same_in_warp(threadIdx.x / LANES);
  const int warps = blockDim.x / LANES;
  const int64_t column_block = blockIdx.x / p.row_blocks;
  const int64_t first_row = int64_t{blockIdx.x % p.row_blocks} * (ROW_TILES * TILE_ROWS);
  const int begin = static_cast<int>(blockIdx.y) * p.chunks_per_split;
  const int end = least(begin + p.chunks_per_split, static_cast<int>(p.matrix.chunks));
  const int first = begin + warp;
  const lane_view<ROW_TILES> view = view_of<ROW_TILES>(p, column_block, first_row, lane);
  float sums[ROW_TILES][FRAGMENTS][4] = {};
  operands<ROW_TILES> read[DEPTH];
  chunk rows[DEPTH];  // of what is loaded next: asked for a round ahead, as addresses wait for it
#pragma unroll
  for (int i = 0; i < DEPTH; ++i) rows[i] = chunk_at(p.matrix, first + i * warps, end);
#pragma unroll
  for (int i = 0; i < DEPTH; ++i) {
    const int number = first + i * warps;
    if (number < end) load<WHOLE>(p, view, number, rows[i], read[i]);
    rows[i] = chunk_at(p.matrix, number + DEPTH * warps, end);
  }
  for (int round = first; round < end; round += DEPTH * warps) {
#pragma unroll
    for (int i = 0; i < DEPTH; ++i) {
      const int number = round + i * warps, next = number + DEPTH * warps;
      if (number < end) multiply_chunk<WHOLE, HALF2>(read[i], lane, sums);
      if (next < end) load<WHOLE>(p, view, next, rows[i], read[i]);
      rows[i] = chunk_at(p.matrix, next + DEPTH * warps, end);
    }
  }
  add_up(warps, warp, lane, sums);
  if (warp == 0) store(p, column_block, first_row, lane, sums);
}

template <int ROW_TILES>
void launch_multiply(product p, int splits, bool half2_codes, stream_handle stream) {
  constexpr int ROWS = ROW_TILES * TILE_ROWS;
  const bool whole =
      p.x.aligned && !p.x.gathered && p.matrix.chunks * CHUNK_ROWS == p.matrix.k;
  const int64_t row_blocks = (p.x.rows + ROWS - 1) / ROWS;
  p.row_blocks = static_cast<unsigned>(row_blocks);
  p.chunks_per_split = static_cast<int>((p.matrix.chunks + splits - 1) / splits);
  int warps = 1;
  while (warps < MAX_WARPS && warps < p.chunks_per_split) warps *= 2;
  const auto kernel = whole ? half2_codes ? multiply_kernel<ROW_TILES, true, true>
                                          : multiply_kernel<ROW_TILES, true, false>
                      : half2_codes ? multiply_kernel<ROW_TILES, false, true>
                                    : multiply_kernel<ROW_TILES, false, false>;
  launch("multiply", kernel, {p.matrix.column_blocks * row_blocks, splits}, warps * LANES,
         stream, p);
}

}  // namespace

void multiply(const q4_matrix& matrix, const activations& x, span<half> out, span<float> partial,
              int splits, bool half2_codes, stream_handle stream) {
  const product p{matrix, x, out, partial, 0, 0};
  if (x.rows <= TILE_ROWS) return launch_multiply<1>(p, splits, half2_codes, stream);
  if (x.rows <= 2 * TILE_ROWS) return launch_multiply<2>(p, splits, half2_codes, stream);
  launch_multiply<MAX_TILE_ROWS / TILE_ROWS>(p, splits, half2_codes, stream);
}

}  // namespace exllama

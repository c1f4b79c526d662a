// make_q4: the caller's words -> units, and units -> weights for a product of another library.
#include <algorithm>

#include "elements.cuh"
#include "sm90/codes.cuh"
#include "sm90.h"

namespace exllama::sm90 {

namespace {

__device__ __forceinline__ uint32_t* word_of_unit(const unit_matrix& matrix, span<uint8_t> bytes,
                                                  int64_t unit, int word) {
  return reinterpret_cast<uint32_t*>(bytes + unit * matrix.unit_bytes()) + word;
}

// A thread makes one word of codes.
__global__ void codes_kernel(unit_matrix matrix, span<const uint32_t> qweight,
                             span<uint8_t> bytes) {
  const int64_t number = element_of_thread(), unit = number / UNIT_WORDS;
  if (unit >= matrix.all_units()) return;
  const int word = static_cast<int>(number % UNIT_WORDS);
  const int64_t first_row = unit % matrix.units * UNIT_ROWS;
  const int64_t first_column = unit / matrix.units * TILE_WIDTH;
  uint32_t halves[2] = {0, 0};
  for (int field = 0; field < PACK_FACTOR; ++field) {
    const unit_code place(word, field);
    const int64_t sorted = first_row + place.row, column = first_column + place.column;
    if (sorted >= matrix.k || column >= matrix.n) continue;
    const int64_t row = matrix.row_of ? matrix.row_of[sorted] : sorted;
    const uint32_t packed = qweight[row / PACK_FACTOR * matrix.n + column];
    const uint32_t code = packed >> (row % PACK_FACTOR * BITS) & CODE_MASK;
    halves[place.high] |= code << place.shift | code >> (16 - place.shift);
  }
  *word_of_unit(matrix, bytes, unit, word) = (halves[0] & 0xffff) | halves[1] << 16;
}

// A thread makes the word of scale and zero-point of one column and set.
__global__ void scales_kernel(unit_matrix matrix, span<const int32_t> groups,
                              span<const uint32_t> qzeros, span<const half> scales,
                              span<uint8_t> bytes) {
  const int64_t number = element_of_thread();
  const int words = matrix.sets * TILE_WIDTH;
  const int64_t unit = number / words;
  if (unit >= matrix.all_units()) return;
  const int word = static_cast<int>(number % words);
  const int64_t row = unit % matrix.units * UNIT_ROWS + word / TILE_WIDTH * BLOCK_ROWS;
  const int in_tile = column_of_scale(word % TILE_WIDTH);
  const int64_t column = unit / matrix.units * TILE_WIDTH + in_tile;
  uint32_t result = 0;
  if (row < matrix.k && column < matrix.n) {
    const int64_t place = groups[row / BLOCK_ROWS] * matrix.n + column;
    const uint32_t stored = qzeros[place / PACK_FACTOR] >> (column % PACK_FACTOR * BITS);
    const uint32_t zero = (stored + ZERO_OFFSET) & CODE_MASK;
    result = bits_of_half(scales[place]) | biased_zero(in_tile, zero) << 16;
  }
  *word_of_unit(matrix, bytes, unit, UNIT_WORDS + word) = result;
}

// A thread writes the eight weights of one word.
__global__ void reconstruct_kernel(unit_matrix matrix, span<half> dense) {
  const int64_t number = element_of_thread(), unit = number / UNIT_WORDS;
  if (unit >= matrix.all_units()) return;
  const int word = static_cast<int>(number % UNIT_WORDS);
  const auto* words =
      reinterpret_cast<const uint32_t*>(matrix.bytes + unit * matrix.unit_bytes());
  const unit_code first(word, 0);
  const int set = matrix.sets == 1 ? 0 : first.row / BLOCK_ROWS;
  // The words of scales of both columns lie side by side.
  const int scale = UNIT_WORDS + set * TILE_WIDTH + first.column % 8 * 4 + first.column / 16 * 2;
  const column_scales columns(make_uint2(words[scale], words[scale + 1]));
  uint32_t weights[4];
  numbers_of_codes<true>(words[word], columns, weights);
  for (int field = 0; field < PACK_FACTOR; ++field) {
    const unit_code place(word, field);
    const int64_t sorted = unit % matrix.units * UNIT_ROWS + place.row;
    const int64_t column = unit / matrix.units * TILE_WIDTH + place.column;
    if (sorted >= matrix.k || column >= matrix.n) continue;
    const int64_t row = matrix.row_of ? matrix.row_of[sorted] : sorted;
    const uint32_t pair = weights[field / 2];
    dense[row * matrix.n + column] = half_of_bits((place.high ? pair >> 16 : pair) & 0xffff);
  }
}

constexpr int OCTET = 8;  // halves that one access moves
constexpr int COPY_THREADS = 512;
constexpr int BATCH = 4;  // octets that a thread asks for before it waits for one
constexpr int MOST_PARTS = 8;
constexpr int64_t MANY_BLOCKS = 264;  // two for each multiprocessor

__device__ __forceinline__ void read_row(const half* from, int64_t k, bool aligned, half* in_row) {
  if (!aligned) {
    for (int64_t i = threadIdx.x; i < k; i += COPY_THREADS) in_row[i] = from[i];
    return;
  }
  const int64_t octets = k / OCTET;
  for (int64_t start = threadIdx.x; start < octets; start += BATCH * COPY_THREADS) {
    uint4 values[BATCH];
#pragma unroll
    for (int i = 0; i < BATCH; ++i) {
      const int64_t octet = start + i * COPY_THREADS;
      if (octet < octets) values[i] = load_octet(from, octet * OCTET);
    }
#pragma unroll
    for (int i = 0; i < BATCH; ++i) {
      const int64_t octet = start + i * COPY_THREADS;
      if (octet < octets) store_octet(in_row, octet * OCTET, values[i]);
    }
  }
}

// x [M, K] -> to [M, K], columns in the order of the sorted rows. A row is read as it lies and put
// in order in shared memory: single halves from all over it would cost the cache a line each.
__global__ void __launch_bounds__(COPY_THREADS, 2)
    copy_kernel(activations x, span<const int32_t> row_of, int64_t k, span<half> to) {
  let_next_begin();
  extern __shared__ __align__(16) half in_row[];
  const int64_t octets = k / OCTET;
  const int64_t first = octets * blockIdx.y / gridDim.y, last = octets * (blockIdx.y + 1) / gridDim.y;
  for (int64_t row = blockIdx.x; row < x.rows; row += gridDim.x) {
    __syncthreads();  // the row before has been read
    read_row(x.values + row * x.stride, k, x.aligned, in_row);
    __syncthreads();
#pragma unroll 2
    for (int64_t octet = first + threadIdx.x; octet < last; octet += COPY_THREADS) {
      uint4 values;
      if (row_of) {
        const auto* const columns = reinterpret_cast<const int4*>(row_of) + octet * 2;
        const int4 low = columns[0], high = columns[1];
        const auto pair = [](int a, int b) {
          return bits_of_half(in_row[a]) | uint32_t{bits_of_half(in_row[b])} << 16;
        };
        values = {pair(low.x, low.y), pair(low.z, low.w), pair(high.x, high.y), pair(high.z, high.w)};
      } else {
        values = load_octet(in_row, octet * OCTET);
      }
      store_octet(to, row * k + octet * OCTET, values);
    }
  }
}

}  // namespace

const void* copy_kernel_address() { return reinterpret_cast<const void*>(copy_kernel); }

void copy_rows(const activations& x, span<const int32_t> row_of, int64_t k, span<half> to,
               stream_handle stream) {
  const int64_t blocks = std::min(x.rows, MANY_BLOCKS);
  const int64_t parts = std::max<int64_t>(1, std::min<int64_t>(MOST_PARTS, MANY_BLOCKS / 2 / blocks));
  const int64_t bytes = k * int64_t{sizeof(half)};
  const int32_t* order = row_of;
  half* into = to;
  void* addresses[] = {const_cast<activations*>(&x), &order, &k, &into};
  check_cuda(cudaLaunchKernel(copy_kernel_address(),
                              dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(parts)),
                              dim3(COPY_THREADS), addresses, bytes, stream),
             "kernel copy_rows");
}

void arrange(const unit_matrix& matrix, span<const int32_t> groups, span<const uint32_t> qweight,
             span<const uint32_t> qzeros, span<const half> scales, span<uint8_t> bytes,
             stream_handle stream) {
  launch("arrange_codes", codes_kernel, blocks_for(matrix.all_units() * UNIT_WORDS),
         ELEMENT_THREADS, stream, matrix, qweight, bytes);
  launch("arrange_scales", scales_kernel, blocks_for(matrix.all_units() * matrix.sets * TILE_WIDTH),
         ELEMENT_THREADS, stream, matrix, groups, qzeros, scales, bytes);
}

void reconstruct(const unit_matrix& matrix, span<half> dense, stream_handle stream) {
  launch("reconstruct_units", reconstruct_kernel, blocks_for(matrix.all_units() * UNIT_WORDS),
         ELEMENT_THREADS, stream, matrix, dense);
}

}  // namespace exllama::sm90

// Which way a product is computed, and what memory that takes.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels.h"

namespace exllama {

// Rows from which writing all weights out and leaving the product to a library is the faster way.
// On an H200 (K x N, group 128) the library's way takes 107 us against 53 at 64 rows and 122 against
// 197 at 256 (14336 x 4096), 31 against 22 and 37 against 79 (4096 x 4096): lines through these
// points cross at 144 and 98 rows.
constexpr int64_t RECONSTRUCTION_PAYS_FROM = 128;
constexpr int64_t VECTOR_BYTES = 16;

struct tuning {
  int matmul_recons_thd = 8;
  bool matmul_fused_remap = false;
  bool matmul_no_half2 = false;
};

struct plan {
  bool reconstructs = false;
  bool remaps = false;  // into temp_state, before the product
  int splits = 1;

  int64_t temp_state_elements = 0;
  int64_t temp_dq_elements = 0;
  int64_t workspace_bytes = 0;
};

// 0: never; n > 0: from n rows on, where it pays; -n: from n rows on, whether it pays or not.
inline bool reconstructs(int matmul_recons_thd, int64_t rows) {
  const int64_t threshold = matmul_recons_thd;
  if (threshold == 0) return false;
  if (threshold < 0) return rows >= -threshold;
  return rows >= std::max(threshold, RECONSTRUCTION_PAYS_FROM);
}

// As many parts of K as give each multiprocessor a block, but none smaller than pays.
inline int splits_of(const q4_matrix& matrix, int64_t rows, device_shape device) {
  const int64_t row_blocks = (rows + MAX_TILE_ROWS - 1) / MAX_TILE_ROWS;
  const int64_t wanted = device.multiprocessors / (matrix.column_blocks * row_blocks);
  const int64_t possible = matrix.chunks / device.chunks_per_split;
  return static_cast<int>(std::max<int64_t>(1, std::min(wanted, possible)));
}

inline plan make_plan(const q4_matrix& matrix, int64_t rows, const tuning& chosen,
                      device_shape device) {
  plan result;
  result.reconstructs = reconstructs(chosen.matmul_recons_thd, rows);
  if (result.reconstructs) {
    result.temp_dq_elements = matrix.k * matrix.n;
    result.workspace_bytes = gemm_handle::WORKSPACE_BYTES;
    return result;
  }
  result.remaps = matrix.row_of && !chosen.matmul_fused_remap;
  if (result.remaps) result.temp_state_elements = rows * matrix.k;
  result.splits = splits_of(matrix, rows, device);
  if (result.splits > 1)
    result.workspace_bytes = result.splits * rows * matrix.n * int64_t{sizeof(float)};
  return result;
}

// What the caller gave, and the buffers that the plan asks for.
struct call {
  span<const half> x;
  int64_t rows = 0, x_stride = 0;
  span<half> out;
  span<half> temp_state, temp_dq;
  void* workspace = nullptr;  // of as many bytes as the plan says
  bool x_aligned = false, temp_state_aligned = false, temp_dq_aligned = false;  // to VECTOR_BYTES
};

void run(const plan& chosen, const q4_matrix& matrix, const tuning& how, const call& given,
         gemm_handle* library, stream_handle stream);

}  // namespace exllama

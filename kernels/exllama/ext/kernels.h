// The launchers: raw pointers (spans on a CPU) and a stream. They launch and return; wrong operands
// have been refused before.
#pragma once

#include "layout.h"

namespace exllama {

// qweight [K / 8, N], rows in the order of row_of -> codes of `matrix`.
void rearrange_codes(const q4_matrix& matrix, span<const uint32_t> qweight, span<uint32_t> codes,
                     stream_handle stream);

// qzeros [G, N / 8], scales [G, N] -> scales of `matrix`.
void rearrange_scales(const q4_matrix& matrix, span<const uint32_t> qzeros,
                      span<const half> scales, span<uint32_t> words, stream_handle stream);

struct activations {
  span<const half> values;
  int64_t rows;
  int64_t stride;                // elements from one row to the next
  bool aligned;                  // every eighth element of every row lies on 16 bytes
  span<const int32_t> gathered;  // column of each sorted row; null where columns are sorted already
};

// x [M, K] -> sorted [M, K]: column i is column row_of[i] of x.
void column_remap(const activations& x, span<const int32_t> row_of, int64_t k, span<half> sorted,
                  stream_handle stream);

// x times the weights -> out [M, N], or with several splits of K -> partial [splits, M, N].
void multiply(const q4_matrix& matrix, const activations& x, span<half> out, span<float> partial,
              int splits, bool half2_codes, stream_handle stream);

// partial [splits, M, N] -> out [M, N]
void sum_partials(span<const float> partial, int splits, int64_t elements, span<half> out,
                  stream_handle stream);

// -> dense [K, N], rows in the caller's order
void reconstruct(const q4_matrix& matrix, span<half> dense, bool aligned, bool half2_codes,
                 stream_handle stream);

}  // namespace exllama

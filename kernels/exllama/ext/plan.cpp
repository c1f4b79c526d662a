#include "plan.h"

namespace exllama {

void run(const plan& chosen, const q4_matrix& matrix, const tuning& how, const call& given,
         gemm_handle* library, stream_handle stream) {
  const bool half2_codes = !how.matmul_no_half2;
  const int64_t rows = given.rows;
  if (chosen.reconstructs) {
    reconstruct(matrix, given.temp_dq, given.temp_dq_aligned, half2_codes, stream);
    library->run(stream, given.workspace, given.x, given.x_stride, given.temp_dq, given.out, rows,
                 matrix.n, matrix.k);
    return;
  }
  const bool vectors = given.x_aligned && given.x_stride % ROWS_PER_LANE == 0;
  activations x{given.x, rows, given.x_stride, vectors, matrix.row_of};
  if (chosen.remaps) {
    column_remap(x, matrix.row_of, matrix.k, given.temp_state, stream);
    x = {given.temp_state, rows, matrix.k, given.temp_state_aligned, {}};
  }
  span<float> partial{};  // null: the kernel writes out itself
  if (chosen.splits > 1)
    partial = make_span(static_cast<float*>(given.workspace),
                        chosen.workspace_bytes / int64_t{sizeof(float)});
  multiply(matrix, x, given.out, partial, chosen.splits, half2_codes, stream);
  if (partial) sum_partials(partial, chosen.splits, rows * matrix.n, given.out, stream);
}

}  // namespace exllama

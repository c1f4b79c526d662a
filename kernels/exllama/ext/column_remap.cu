// The columns of x in the order of the sorted rows, as a pass of its own; and sums of partial sums.
#include "elements.cuh"
#include "kernels.h"

namespace exllama {

namespace {

__global__ void remap_kernel(activations x, span<const int32_t> row_of, int64_t k,
                             span<half> sorted) {
  const int64_t element = element_of_thread();
  if (element >= x.rows * k) return;
  sorted[element] = x.values[element / k * x.stride + row_of[element % k]];
}

// In the order of the splits, whichever block was done first.
__global__ void sum_kernel(span<const float> partial, int splits, int64_t elements,
                           span<half> out) {
  const int64_t element = element_of_thread();
  if (element >= elements) return;
  float sum = 0.0f;
  for (int split = 0; split < splits; ++split) sum += partial[split * elements + element];
  out[element] = __float2half_rn(sum);
}

}  // namespace

void column_remap(const activations& x, span<const int32_t> row_of, int64_t k, span<half> sorted,
                  stream_handle stream) {
  launch_without_barriers("column_remap", remap_kernel, blocks_for(x.rows * k), ELEMENT_THREADS,
                          stream, x, row_of, k, sorted);
}

void sum_partials(span<const float> partial, int splits, int64_t elements, span<half> out,
                  stream_handle stream) {
  launch_without_barriers("sum_partials", sum_kernel, blocks_for(elements), ELEMENT_THREADS, stream,
                          partial, splits, elements, out);
}

}  // namespace exllama

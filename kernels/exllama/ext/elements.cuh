// Kernels of one thread for one element.
#pragma once

#include "layout.h"

namespace exllama {

constexpr int ELEMENT_THREADS = 256;

__device__ __forceinline__ int64_t element_of_thread() {
  return static_cast<int64_t>(blockIdx.x) * ELEMENT_THREADS + threadIdx.x;
}

inline grid_size blocks_for(int64_t elements) {
  return {(elements + ELEMENT_THREADS - 1) / ELEMENT_THREADS};
}

}  // namespace exllama

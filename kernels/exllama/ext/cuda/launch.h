// A kernel launch whose error is raised at the call, and pointers as plain as they come.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <stdexcept>
#include <string>

// Vector accesses to shared memory need it aligned.
#define SHARED_ARRAY(type, name, count) __shared__ __align__(16) type name[count]

namespace exllama {

template <class T>
using span = T* __restrict__;

template <class T>
span<T> make_span(T* data, int64_t) {
  return data;
}

using stream_handle = cudaStream_t;

struct grid_size {
  int64_t x = 1, y = 1;
};

inline void check_cuda(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // ours to report, not the next caller's
  throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status));
}

template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), grid_size size, int threads,
            stream_handle stream, Arguments... arguments) {
  constexpr int64_t MOST_BLOCKS[2] = {2147483647, 65535};
  if (size.x > MOST_BLOCKS[0] || size.y > MOST_BLOCKS[1])
    throw std::runtime_error(std::string("kernel ") + name + ": more than 2^31 - 1 blocks");
  auto run = [&](Parameters... given) {
    void* addresses[] = {const_cast<void*>(static_cast<const void*>(&given))...};
    return cudaLaunchKernel(reinterpret_cast<const void*>(kernel),
                            dim3(static_cast<unsigned>(size.x), static_cast<unsigned>(size.y)),
                            dim3(threads), addresses, 0, stream);
  };
  check_cuda(run(arguments...), (std::string("kernel ") + name).c_str());
}

// The same on a GPU; a CPU does without stacks for such kernels.
template <class... Parameters, class... Arguments>
void launch_without_barriers(const char* name, void (*kernel)(Parameters...), grid_size size,
                             int threads, stream_handle stream, Arguments... arguments) {
  launch(name, kernel, size, threads, stream, arguments...);
}

}  // namespace exllama

// Memory for a kernel, on the GPU.
#pragma once

#include <vector>

#include "device.h"

namespace exllama::test {

template <class T>
class array {
 public:
  explicit array(int64_t count) : count_(count) {
    check_cuda(cudaMalloc(&memory_, std::max<int64_t>(count, 1) * sizeof(T)), "cudaMalloc");
  }
  explicit array(const std::vector<T>& values) : array(static_cast<int64_t>(values.size())) {
    const size_t bytes = values.size() * sizeof(T);
    check_cuda(cudaMemcpy(memory_, values.data(), bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  ~array() { cudaFree(memory_); }
  array(const array&) = delete;
  span<T> view() { return make_span(memory_, count_); }
  const T* address() const { return memory_; }
  std::vector<T> read() const {
    std::vector<T> values(count_);
    const size_t bytes = values.size() * sizeof(T);
    check_cuda(cudaMemcpy(values.data(), memory_, bytes, cudaMemcpyDeviceToHost), "cudaMemcpy");
    return values;
  }

 private:
  T* memory_ = nullptr;
  int64_t count_;
};

inline void choose_order(int, uint64_t) {}  // a GPU has its own

}  // namespace exllama::test

// Memory for a kernel: on the heap, of exactly the size asked for, so that a sanitizer sees its end.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "device.h"

namespace exllama::test {

template <class T>
class array {
 public:
  explicit array(int64_t count) : memory_(new T[count]), count_(count) {}
  explicit array(const std::vector<T>& values) : array(static_cast<int64_t>(values.size())) {
    std::copy(values.begin(), values.end(), memory_.get());
  }
  span<T> view() { return make_span(memory_.get(), count_); }
  const T* address() const { return memory_.get(); }
  std::vector<T> read() const { return {memory_.get(), memory_.get() + count_}; }

 private:
  std::unique_ptr<T[]> memory_;
  int64_t count_;
};

inline void choose_order(int kind, uint64_t seed) {
  host::order() = {static_cast<host::order_kind>(kind), seed};
}

}  // namespace exllama::test

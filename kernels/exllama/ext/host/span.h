// Checked memory: on a CPU, what a kernel calls a pointer knows where its buffer ends.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace exllama {

namespace host {

[[noreturn]] void fault(const std::string& what);  // names the block and the thread: launch.h

}  // namespace host

template <class T>
class span {
 public:
  span() = default;
  span(T* data, int64_t size) : data_(data), size_(size) {}

  template <class U, class = std::enable_if_t<std::is_same_v<const U, T>>>
  span(const span<U>& other) : data_(other.data_), size_(other.size_), offset_(other.offset_) {}

  T& operator[](int64_t index) const { return *reach(index, 1); }

  span operator+(int64_t count) const {
    span moved = *this;
    moved.offset_ += count;
    return moved;
  }

  explicit operator bool() const { return data_ != nullptr; }

  // The first of `count` elements, all of them inside.
  T* reach(int64_t index, int64_t count) const {
    const int64_t first = offset_ + index;
    if (first < 0 || first > size_ - count) {
      const std::string last = count == 1 ? "" : " to " + std::to_string(first + count - 1);
      host::fault("index " + std::to_string(first) + last + " is outside a buffer of " +
                  std::to_string(size_) + " elements");
    }
    return data_ + first;
  }

 private:
  template <class U>
  friend class span;

  T* data_ = nullptr;
  int64_t size_ = 0;
  int64_t offset_ = 0;
};

template <class T>
span<T> make_span(T* data, int64_t size) {
  return {data, size};
}

}  // namespace exllama

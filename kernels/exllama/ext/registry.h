// What lives between calls: matrices by handle, buffers by device, tuning. Python's lock guards it.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <unordered_map>
#include <vector>

#include "plan.h"
#include "sm90.h"

namespace exllama {

using memory = std::shared_ptr<void>;  // a tensor, to this file

// A tensor that a layer made its matrix of, and what changes when it is written or replaced.
struct source {
  const void* tensor;
  const void* data;
  int64_t version;
  std::vector<int64_t> sizes, strides;

  bool operator==(const source& other) const {
    return tensor == other.tensor && data == other.data && version == other.version &&
           sizes == other.sizes && strides == other.strides;
  }
};

struct stored_matrix {
  q4_matrix matrix;
  int device;
  std::vector<memory> owned;
  sm90::unit_matrix units{};  // where these are not 0, `matrix` has no memory
  mutable std::unordered_map<int64_t, sm90::plan> plans{};  // in units; see sm90_plan_of

  std::vector<source> sources{};  // of `product`

  bool in_units() const { return units.units > 0; }
};

struct memory_range {
  const void* first;
  int64_t bytes;
};

inline bool overlap(memory_range a, memory_range b) {
  const auto first = reinterpret_cast<uintptr_t>(a.first);
  const auto other = reinterpret_cast<uintptr_t>(b.first);
  return a.bytes > 0 && b.bytes > 0 && first < other + static_cast<uint64_t>(b.bytes) &&
         other < first + static_cast<uint64_t>(a.bytes);
}

inline bool is_aligned(const void* address) {
  return reinterpret_cast<uintptr_t>(address) % VECTOR_BYTES == 0;
}

struct scratch {
  span<half> values;
  const void* address = nullptr;
  int64_t elements = 0;
  memory owned;

  memory_range range() const { return {address, elements * int64_t{sizeof(half)}}; }
};

// Of a stream: 0 between its calls, which follow each other.
struct stream_flags {
  uint64_t* values = nullptr;
  int64_t count = 0;
  memory owned;
};

struct device_buffers {
  scratch temp_state, temp_dq;
  event_handle last_use;
  gemm_handle library;
};

class registry {
 public:
  uint64_t add(stored_matrix entry) {
    const uint64_t handle = scrambled(++handles_given_);
    matrices_.emplace(handle, std::move(entry));
    return handle;
  }

  // Null for what was never given out, or was given out before the last cleanup.
  stored_matrix* find(uint64_t handle) {
    const auto found = matrices_.find(handle);
    return found == matrices_.end() ? nullptr : &found->second;
  }

  device_buffers* buffers_of(int device) {
    const auto found = buffers_.find(device);
    return found == buffers_.end() ? nullptr : found->second.get();
  }

  device_buffers& make_buffers(int device) {
    auto& slot = buffers_[device];
    if (!slot) slot = std::make_unique<device_buffers>();
    return *slot;
  }

  stream_flags& flags_of(int device, stream_handle stream) {
    return flags_[{device, number_of(stream)}];
  }

  std::set<int> devices() const {
    std::set<int> found;
    for (const auto& entry : flags_) found.insert(entry.first.first);
    for (const auto& entry : matrices_) found.insert(entry.second.device);
    for (const auto& entry : buffers_) found.insert(entry.first);
    return found;
  }

  void forget(int device) {
    for (auto entry = matrices_.begin(); entry != matrices_.end();)
      entry = entry->second.device == device ? matrices_.erase(entry) : std::next(entry);
    for (auto entry = flags_.begin(); entry != flags_.end();)
      entry = entry->first.first == device ? flags_.erase(entry) : std::next(entry);
    buffers_.erase(device);
  }

  tuning chosen;
  int64_t forced_plan = 0;  // number among sm90::choices

 private:
  // One-to-one, so that no number is given twice, and far from the numbers that callers make up.
  static uint64_t scrambled(uint64_t value) {
    value *= 0x9e3779b97f4a7c15;
    value = (value ^ value >> 31) * 0xbf58476d1ce4e5b9;
    return value ^ value >> 29;
  }

  // No number of one build is a number of the other: both may serve one process.
  uint64_t handles_given_ = ON_GPU ? 0 : uint64_t{1} << 32;
  std::unordered_map<uint64_t, stored_matrix> matrices_;
  std::map<int, std::unique_ptr<device_buffers>> buffers_;
  std::map<std::pair<int, uintptr_t>, stream_flags> flags_;
};

// Never destroyed: at exit the device may be gone before it.
inline registry& state() {
  static auto* const only = new registry;
  return *only;
}

}  // namespace exllama

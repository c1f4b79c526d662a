// Streams, events, devices: a CPU has one device, -1, and everything happens at once.
#pragma once

#include <cstdint>
#include <vector>

#include "half.h"
#include "launch.h"
#include "span.h"

namespace exllama {

constexpr bool ON_GPU = false;

struct device_shape {
  int multiprocessors;   // blocks that run at once
  int chunks_per_split;  // the least worth a block of its own
};

// As if it were a small GPU, so that small problems are split along K too.
inline device_shape shape_of_device(int) { return {4, 2}; }

constexpr int ONLY_DEVICE = -1;

inline int current_device() { return ONLY_DEVICE; }

// Why the kernels cannot run there; empty where they can.
inline std::string device_problem(int device) {
  return device == ONLY_DEVICE ? "" : "this build runs on the CPU, device -1";
}

inline stream_handle current_stream(int) { return {}; }
inline bool is_capturing(stream_handle) { return false; }
inline uintptr_t number_of(stream_handle) { return 0; }
inline void synchronize_stream(stream_handle) {}
inline void synchronize_device() {}

class event_handle {
 public:
  void synchronize() const {}
};

// Work on a stream that must not overlap with such work on another.
class event_turn {
 public:
  event_turn(event_handle*, stream_handle) {}
};

// out [M, N] = x [M, K] times weights [K, N], float32 sums.
class gemm_handle {
 public:
  static constexpr int64_t WORKSPACE_BYTES = 0;

  void run(stream_handle, void*, span<const half> x, int64_t x_stride,
           span<const half> weights, span<half> out, int64_t m, int64_t n, int64_t k) const {
    std::vector<float> factors(k * n), sums(n);
    for (int64_t i = 0; i < k * n; ++i) factors[i] = __half2float(weights[i]);
    for (int64_t row = 0; row < m; ++row) {
      sums.assign(n, 0.0f);
      for (int64_t i = 0; i < k; ++i) {
        const float value = __half2float(x[row * x_stride + i]);
        for (int64_t column = 0; column < n; ++column)
          sums[column] += value * factors[i * n + column];
      }
      for (int64_t column = 0; column < n; ++column)
        out[row * n + column] = __float2half_rn(sums[column]);
    }
  }
};

}  // namespace exllama

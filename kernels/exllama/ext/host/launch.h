// A kernel launch: blocks on a few CPU threads, in an order that can be permuted.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <numeric>
#include <system_error>
#include <thread>

#include "block.h"
#include "span.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __syncthreads() ::exllama::host::block::here("__syncthreads").barrier(__FILE__, __LINE__)
#define SHARED_ARRAY(type, name, count)                                                   \
  ::exllama::span<type> name =                                                            \
      ::exllama::make_span(::exllama::host::block::here(#name).shared<type>(#name, count), \
                           static_cast<int64_t>(count))

namespace exllama {

struct grid_size {
  int64_t x = 1, y = 1;
};

namespace host {

enum order_kind { FORWARD, REVERSE, RANDOM };

struct launch_order {
  order_kind kind = FORWARD;
  uint64_t seed = 0;
};

// EXLLAMA_HOST_ORDER is forward, reverse, or random-SEED.
inline launch_order order_from_environment() {
  const char* text = std::getenv("EXLLAMA_HOST_ORDER");
  if (text == nullptr || std::strcmp(text, "forward") == 0) return {};
  if (std::strcmp(text, "reverse") == 0) return {REVERSE, 0};
  if (std::strncmp(text, "random-", 7) == 0) return {RANDOM, std::strtoull(text + 7, nullptr, 10)};
  throw std::runtime_error("EXLLAMA_HOST_ORDER must be forward, reverse or random-SEED, got " +
                           std::string(text));
}

inline launch_order& order() {
  static launch_order chosen = order_from_environment();
  return chosen;
}

inline uint64_t mix(uint64_t value) {  // splitmix64
  value += 0x9e3779b97f4a7c15;
  value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
  value = (value ^ value >> 27) * 0x94d049bb133111eb;
  return value ^ value >> 31;
}

// The block that runs i-th out of `count`.
inline int64_t permuted(int64_t i, int64_t count, launch_order how) {
  if (how.kind == FORWARD) return i;
  if (how.kind == REVERSE) return count - 1 - i;
  auto step = static_cast<int64_t>(mix(how.seed) % static_cast<uint64_t>(count)) | 1;
  while (std::gcd(step, count) != 1) step += 2;
  const auto start = static_cast<__int128>(mix(how.seed + 1) >> 2);
  return static_cast<int64_t>((start + static_cast<__int128>(i) * step) % count);
}

inline void permute_threads(std::vector<int>& threads, launch_order how, int64_t block_number) {
  std::iota(threads.begin(), threads.end(), 0);
  if (how.kind == REVERSE) std::reverse(threads.begin(), threads.end());
  if (how.kind != RANDOM) return;
  uint64_t state = how.seed ^ mix(static_cast<uint64_t>(block_number));
  for (size_t i = threads.size(); i > 1; --i) {
    state = mix(state);
    std::swap(threads[i - 1], threads[state % i]);
  }
}

[[noreturn]] inline void fault(const std::string& what) {
  if (block::current() == nullptr) throw std::runtime_error(what);
  throw std::runtime_error(what + ", block (" + std::to_string(blockIdx.x) + ", " +
                           std::to_string(blockIdx.y) + "), thread " + std::to_string(threadIdx.x));
}

// Blocks with their stacks, kept from one launch to the next.
class block_pool {
 public:
  std::unique_ptr<block> take() {
    std::lock_guard<std::mutex> hold(lock_);
    if (free_.empty()) return std::make_unique<block>();
    auto one = std::move(free_.back());
    free_.pop_back();
    return one;
  }
  void put(std::unique_ptr<block> one) {
    std::lock_guard<std::mutex> hold(lock_);
    free_.push_back(std::move(one));
  }
  static block_pool& shared() {
    static auto* pool = new block_pool;  // for ever: threads may still run while statics go
    return *pool;
  }

 private:
  std::mutex lock_;
  std::vector<std::unique_ptr<block>> free_;
};

struct grid_run {
  block::body function;
  const void* launch;
  grid_size size;
  int threads;
  bool barriers;
  launch_order how = order();
  std::atomic<int64_t> next{0};
  std::mutex lock{};
  std::exception_ptr failure{};

  void work() {
    auto runner = block_pool::shared().take();
    std::vector<int> threads_in_order(threads);
    blockDim = {static_cast<unsigned>(threads)};
    gridDim = {static_cast<unsigned>(size.x), static_cast<unsigned>(size.y)};
    const int64_t count = size.x * size.y;
    try {
      for (int64_t i; (i = next++) < count;) {
        const int64_t number = permuted(i, count, how);
        permute_threads(threads_in_order, how, number);
        const index3 where{static_cast<unsigned>(number % size.x),
                           static_cast<unsigned>(number / size.x)};
        runner->run(function, launch, where, threads_in_order, barriers);
      }
    } catch (...) {
      next = count;
      std::lock_guard<std::mutex> hold(lock);
      if (!failure) failure = std::current_exception();
    }
    block_pool::shared().put(std::move(runner));
  }
};

inline int cpu_threads() {
  static const int count = [] {
    const char* text = std::getenv("EXLLAMA_HOST_THREADS");
    const int wanted = text ? std::atoi(text) : 0;
    const int present = static_cast<int>(std::thread::hardware_concurrency());
    return wanted > 0 ? wanted : std::max(1, std::min(present, 4));
  }();
  return count;
}

inline void run_grid(const char* name, grid_run& run) {
  constexpr int64_t WORTH_A_THREAD = 4096;  // device threads: less is done before it has started
  const int64_t count = run.size.x * run.size.y;
  const int64_t helpers = std::min<int64_t>({cpu_threads(), count,
                                             count * run.threads / WORTH_A_THREAD + 1}) - 1;
  std::vector<std::thread> team;
  try {
    for (int64_t i = 0; i < helpers; ++i) team.emplace_back([&run] { run.work(); });
  } catch (const std::system_error&) {  // no more threads to be had: fewer do
  }
  run.work();
  for (auto& helper : team) helper.join();
  if (!run.failure) return;
  try {
    std::rethrow_exception(run.failure);
  } catch (const std::exception& error) {
    throw std::runtime_error("kernel " + std::string(name) + ": " + error.what());
  }
}

template <class... Parameters, class... Arguments>
void launch_grid(const char* name, void (*kernel)(Parameters...), grid_size size, int threads,
                 bool barriers, Arguments... arguments) {
  auto call = [=] { kernel(static_cast<Parameters>(arguments)...); };
  grid_run run{[](const void* launch) { (*static_cast<const decltype(call)*>(launch))(); }, &call,
               size, threads, barriers};
  run_grid(name, run);
}

}  // namespace host

struct stream_handle {};

template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), grid_size size, int threads,
            stream_handle, Arguments... arguments) {
  host::launch_grid(name, kernel, size, threads, true, arguments...);
}

// For kernels whose threads never wait for each other; on a CPU they need no stacks.
template <class... Parameters, class... Arguments>
void launch_without_barriers(const char* name, void (*kernel)(Parameters...), grid_size size,
                             int threads, stream_handle, Arguments... arguments) {
  host::launch_grid(name, kernel, size, threads, false, arguments...);
}

}  // namespace exllama

// The host build's threads, barriers and buffers: what a GPU would not forgive is seen and reported.
#include <algorithm>
#include <set>

#include "array.h"
#include "checks.h"
#include "elements.cuh"

namespace exllama::test {

namespace {

constexpr int THREADS = 64;
constexpr int FORWARD = host::FORWARD, REVERSE = host::REVERSE, RANDOM = host::RANDOM;

void in_every_order(const std::function<void()>& action) {
  for (int kind : {FORWARD, REVERSE, RANDOM})
    for (uint64_t seed : {1, 2, 3}) {
      choose_order(kind, seed);
      action();
    }
  choose_order(FORWARD, 0);
}

// ---- order

__global__ void log_kernel(span<int> log, int* written) {
  log[(*written)++] = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
}

std::vector<int> logged(int kind, uint64_t seed, int blocks) {
  choose_order(kind, seed);
  array<int> log(blocks * 4);
  int written = 0;  // few threads: one CPU thread runs them all
  launch("log", log_kernel, {blocks}, 4, {}, log.view(), &written);
  choose_order(FORWARD, 0);
  return log.read();
}

CHECK_THAT(threads_and_blocks_run_in_the_order_chosen) {
  std::vector<int> wanted(28);
  std::iota(wanted.begin(), wanted.end(), 0);
  expect(logged(FORWARD, 0, 7) == wanted, "forward order");
  const auto random = logged(RANDOM, 5, 7);
  expect(random != wanted && random == logged(RANDOM, 5, 7), "the same permutation for one seed");
  expect(random != logged(RANDOM, 6, 7), "another one for another seed");
  std::reverse(wanted.begin(), wanted.end());
  expect(logged(REVERSE, 0, 7) == wanted, "reverse order");
}

__global__ void count_kernel(span<int> counts) { ++counts[element_of_thread()]; }

CHECK_THAT(every_thread_of_every_block_runs_once) {
  in_every_order([] {
    for (int blocks : {1, 2, 3, 97, 640}) {
      array<int> counts(std::vector<int>(blocks * ELEMENT_THREADS, 0));
      launch_without_barriers("count", count_kernel, {blocks}, ELEMENT_THREADS, {}, counts.view());
      const auto found = counts.read();
      expect(std::all_of(found.begin(), found.end(), [](int n) { return n == 1; }), "all counted");
    }
  });
}

// ---- barriers and shared memory

template <bool BARRIER>
__global__ void turn_kernel(span<float> values) {
  SHARED_ARRAY(float, shared, THREADS);
  shared[threadIdx.x] = values[blockIdx.x * THREADS + threadIdx.x];
  if (BARRIER) __syncthreads();
  values[blockIdx.x * THREADS + threadIdx.x] = shared[THREADS - 1 - threadIdx.x];
}

template <bool BARRIER>
bool turns_round() {
  std::vector<float> values(3 * THREADS);
  std::iota(values.begin(), values.end(), 0.0f);
  array<float> given(values);
  launch("turn", turn_kernel<BARRIER>, {3}, THREADS, {}, given.view());
  for (int i = 0; i < 3; ++i)
    std::reverse(values.begin() + i * THREADS, values.begin() + (i + 1) * THREADS);
  return given.read() == values;
}

CHECK_THAT(a_dropped_barrier_shows_in_every_order) {
  in_every_order([] {
    expect(turns_round<true>(), "the values turned round");
    expect(!turns_round<false>(), "a wrong result without the barrier");
  });
}

__global__ void stale_kernel(span<float> values) {
  SHARED_ARRAY(float, never_written, THREADS);
  values[blockIdx.x * THREADS + threadIdx.x] = never_written[threadIdx.x];
  never_written[threadIdx.x] = 1.0f;
}

CHECK_THAT(shared_memory_is_poisoned_for_each_block) {
  array<float> values(5 * THREADS);
  launch("stale", stale_kernel, {5}, THREADS, {}, values.view());
  for (float value : values.read()) expect(std::isnan(value), "NaN, not what a block before left");
}

enum fault_kind { EARLY_RETURN, TWO_PLACES, TWO_FILES, BARRIER_AND_WARP, ONE_LOOP_MORE };

__global__ void diverging_kernel(int kind) {
  if (blockIdx.x != 1) return;
  if (kind == EARLY_RETURN && threadIdx.x == 5) return;
  if (kind == TWO_PLACES && threadIdx.x == 5) {
    __syncthreads();
    return;
  }
  if (kind == TWO_FILES) {  // on the same line of both
    const char* const file = threadIdx.x == 5 ? "in another machine.cpp" : "in machine.cpp";
    return host::block::here("__syncthreads").barrier(file, 1);
  }
  if (kind == BARRIER_AND_WARP && threadIdx.x >= 32) shuffle_xor(1, threadIdx.x == 40 ? 2 : 1);
  if (kind == BARRIER_AND_WARP && threadIdx.x == 7) shuffle_xor(1, 1);
  for (int i = 0; i < (kind == ONE_LOOP_MORE && threadIdx.x == 5 ? 2 : 1); ++i) __syncthreads();
}

void diverge(int kind) { launch("diverging", diverging_kernel, {3}, THREADS, {}, kind); }

CHECK_THAT(a_barrier_that_not_all_threads_reach_is_reported) {
  in_every_order([] {
    for (int kind : {EARLY_RETURN, TWO_PLACES, TWO_FILES, ONE_LOOP_MORE})
      expect_error([kind] { diverge(kind); }, {"kernel diverging", "not all threads reach",
                                               "block (1, 0)", "thread 5", "machine.cpp:"});
    expect_error([] { diverge(BARRIER_AND_WARP); },
                 {"not all threads reach", "thread 7", "waits for its warp in shuffle_xor"});
    expect(turns_round<true>(), "the stacks to be of use afterwards");
  });
}

__global__ void lonely_kernel() { shuffle_xor(1, 1); }

CHECK_THAT(a_warp_that_is_not_whole_is_reported) {
  expect_error([] { launch("lonely", lonely_kernel, {1}, 16, {}); }, {"not all threads reach"});
}

CHECK_THAT(a_barrier_without_stacks_is_reported) {
  expect_error([] { launch_without_barriers("diverging", diverging_kernel, {2}, 32, {}, 9); },
               {"__syncthreads in a kernel launched without barriers"});
  expect_error([] { __syncthreads(); }, {"__syncthreads outside a kernel"});
}

// ---- buffers

__global__ void reach_kernel(span<const half> from, span<half> into, int64_t index, int what) {
  if (blockIdx.x != 2 || threadIdx.x != 9) return;
  if (what == 0) into[index] = half{};
  if (what == 1) into[0] = (from + 3)[index];
  if (what == 2) store_octet(into, index, load_octet(from, 0));
  if (what == 3) store_octet(into, 0, load_octet(from, index));
}

void reach(int64_t index, int what) {
  array<half> from(std::vector<half>(32)), into(std::vector<half>(32));
  launch("reach", reach_kernel, {3}, 32, {}, from.view(), into.view(), index, what);
}

CHECK_THAT(an_index_outside_a_buffer_is_reported) {
  const std::string where = "block (2, 0), thread 9";
  reach(31, 0);
  expect_error([] { reach(32, 0); }, {"kernel reach", "index 32", "buffer of 32", where});
  expect_error([] { reach(-1, 0); }, {"index -1", "buffer of 32", where});
  expect_error([] { reach(int64_t{1} << 40, 0); }, {"index 1099511627776", where});
  reach(28, 1);
  expect_error([] { reach(29, 1); }, {"index 32", where});
  expect_error([] { reach(-4, 1); }, {"index -1", where});
}

CHECK_THAT(vectors_must_lie_inside_and_be_aligned) {
  reach(24, 2);
  reach(24, 3);
  for (int what : {2, 3}) {
    expect_error([what] { reach(25, what); }, {"index 25 to 32", "buffer of 32", "thread 9"});
    expect_error([what] { reach(4, what); }, {"misaligned access to 16 bytes at index 4"});
  }
}

__global__ void shared_fault_kernel() {
  SHARED_ARRAY(float, shared, THREADS);
  shared[threadIdx.x + 1] = 0.0f;
}

CHECK_THAT(an_index_outside_shared_memory_is_reported) {
  expect_error([] { launch("shared_fault", shared_fault_kernel, {1}, THREADS, {}); },
               {"index 64", "buffer of 64", "thread 63"});
}

// ---- faults on several CPU threads

__global__ void late_fault_kernel(span<int> values) {
  __syncthreads();
  if (blockIdx.x % 100 == 57 && threadIdx.x == 3) values[1] = 1;
}

CHECK_THAT(the_first_fault_ends_a_launch_on_all_cpu_threads) {
  array<int> values(1);
  for (int round = 0; round < 20; ++round) {
    expect_error([&] { launch("late_fault", late_fault_kernel, {500}, 256, {}, values.view()); },
                 {"kernel late_fault: index 1 is outside a buffer of 1 elements", "thread 3"});
    expect(turns_round<true>(), "the next launch to be right");
  }
}

}  // namespace
}  // namespace exllama::test

int main(int count, char** words) { return exllama::test::run_checks(count, words); }

"""How the host build orders and spreads a launch, by a program of its own that prints numbers."""

from math import gcd

import pytest

from tests.host_build import programs

PROGRAM = """
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <set>
#include "device.h"
using namespace exllama;
std::mutex lock;
std::condition_variable came;
std::set<std::thread::id> seen;
size_t wanted;
bool in_vain = false;
// Holds each CPU thread until as many as are wanted have come.
__global__ void meeting_kernel() {
  if (threadIdx.x != 0) return;
  std::unique_lock<std::mutex> hold(lock);
  seen.insert(std::this_thread::get_id());
  came.notify_all();
  if (!came.wait_for(hold, std::chrono::seconds(in_vain ? 0 : 30),
                     [] { return seen.size() >= wanted; }))
    in_vain = true;
}
// What is private may be named where a template is instantiated.
std::mutex& lock_of(host::block_pool&);
std::vector<std::unique_ptr<host::block>>& free_of(host::block_pool&);
template <auto Lock, auto Free>
struct opened {
  friend std::mutex& lock_of(host::block_pool& pool) { return pool.*Lock; }
  friend std::vector<std::unique_ptr<host::block>>& free_of(host::block_pool& pool) {
    return pool.*Free;
  }
};
template struct opened<&host::block_pool::lock_, &host::block_pool::free_>;
// How many blocks a pool has while another thread would change it, and once it may.
void sizes(host::block_pool& pool, void (*change)(host::block_pool&)) {
  std::unique_lock<std::mutex> held(lock_of(pool));
  std::thread other(change, std::ref(pool));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  std::printf("%zu\\n", free_of(pool).size());
  held.unlock();
  other.join();
  std::printf("%zu\\n", free_of(pool).size());
}
int main(int count, char** words) {
  using shown = unsigned long long;
  const std::string what = words[1];
  const auto number = [&](int i) { return i < count ? std::strtoull(words[i], nullptr, 10) : 0; };
  if (what == "mix")
    for (int i = 2; i < count; ++i) std::printf("%llu\\n", shown{host::mix(number(i))});
  if (what == "permuted")
    for (uint64_t i = 0; i < number(2); ++i)
      std::printf("%lld\\n", (long long)host::permuted(i, number(2), {host::RANDOM, number(3)}));
  if (what == "turns") {
    host::block_pool pool;
    sizes(pool, [](host::block_pool& shared) { shared.put(std::make_unique<host::block>()); });
    sizes(pool, [](host::block_pool& shared) { shared.take(); });
  }
  if (what == "threads") {
    const grid_size size{static_cast<int64_t>(number(2)), static_cast<int64_t>(number(3))};
    wanted = number(4);
    launch_without_barriers("meeting", meeting_kernel, size, 4096, {});
    std::printf("%zu\\n", seen.size());
  }
}
"""
WORD = 2**64
pytestmark = programs.needs_compiler


def splitmix(value):
    """The published generator, one step from this state."""
    value = (value + 0x9E3779B97F4A7C15) % WORD
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % WORD
    value = (value ^ value >> 27) * 0x94D049BB133111EB % WORD
    return value ^ value >> 31


def test_orders_are_drawn_by_splitmix64(numbers):
    states = [0, 1, 2**32, 2**63 + 12345]
    assert numbers("mix", *states) == [splitmix(state) for state in states]
    assert splitmix(0) == 0xE220A8397B1DCDAF


@pytest.mark.parametrize("count", [1, 2, 30, 97])
@pytest.mark.parametrize("seed", [1, 7])
def test_a_random_order_steps_through_all_blocks(numbers, count, seed):
    """By a step without a divisor of the count, from a start of its own."""
    step = splitmix(seed) % count | 1
    while gcd(step, count) != 1:
        step += 2
    start = splitmix(seed + 1) >> 2
    wanted = [(start + i * step) % count for i in range(count)]
    assert numbers("permuted", count, seed) == wanted
    assert sorted(wanted) == list(range(count))


@pytest.mark.parametrize(("threads", "x", "y"), [(1, 6, 4), (2, 6, 4), (5, 6, 4), (6, 2, 3)])
def test_a_launch_takes_as_many_cpu_threads_as_it_is_given(numbers, threads, x, y):
    (taken,) = numbers("threads", x, y, threads, threads=threads)
    assert taken == threads


def test_blocks_are_kept_and_taken_by_one_thread_at_a_time(numbers):
    assert numbers("turns") == [0, 1, 1, 0]

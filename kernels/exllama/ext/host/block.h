// One block on one CPU thread. Its threads are fibers: each runs until it waits in a barrier or for
// its warp, or returns; then the next one runs, in the order of the launch.
#pragma once

#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "fiber.h"

namespace exllama {

struct index3 {
  unsigned x = 0, y = 0, z = 0;
};

inline thread_local index3 threadIdx, blockIdx, blockDim, gridDim;

namespace host {

constexpr int WARP = 32;
constexpr unsigned char POISON = 0xff;  // NaN in every floating-point type, -1 in integers

class block {
 public:
  using body = void (*)(const void* launch);

  // Runs the threads of block `where`. With barriers each gets a stack of its own.
  void run(body function, const void* launch, index3 where, const std::vector<int>& order,
           bool barriers) {
    function_ = function;
    launch_ = launch;
    order_ = &order;
    barriers_ = barriers;
    blockIdx = where;
    ++generation_;
    current() = this;
    try {
      barriers ? run_fibers() : run_in_place();
    } catch (...) {
      current() = nullptr;
      throw;
    }
    current() = nullptr;
  }

  static block*& current() {
    static thread_local block* running = nullptr;
    return running;
  }

  static block& here(const char* what) {
    if (current() == nullptr) throw std::logic_error(std::string(what) + " outside a kernel");
    return *current();
  }

  void barrier(const char* file, int line) {
    need_fibers("__syncthreads");
    wait(state::AT_BARRIER, file, line);
  }

  // Every lane of the warp brings what it has; the last to come runs operation(lanes) for all.
  template <class Lane, class Operation>
  void warp(Lane& lane, Operation operation, const char* name) {
    need_fibers(name);
    group& mine = warps_[running_ / WARP];
    mine.lanes[running_ % WARP] = &lane;
    if (++mine.arrived < WARP) return wait(state::AT_WARP, name, 0);
    Lane* lanes[WARP];
    const int first = running_ / WARP * WARP;
    for (int i = 0; i < WARP; ++i) {
      lanes[i] = static_cast<Lane*>(mine.lanes[i]);
      if (first + i == running_) continue;
      if (threads_[first + i].place != name) throw_divergence(first + i);
      threads_[first + i].now = state::READY;
    }
    mine.arrived = 0;
    operation(lanes);
  }

  // Memory that the threads of a block share, poisoned when a block first asks for it.
  template <class T>
  T* shared(const char* name, int64_t count) {
    for (array& known : arrays_)
      if (known.name == name) return static_cast<T*>(fresh(known, count * sizeof(T)));
    arrays_.push_back({name, 0, {}});
    return static_cast<T*>(fresh(arrays_.back(), count * sizeof(T)));
  }

 private:
  enum class state { READY, AT_BARRIER, AT_WARP, DONE };

  struct thread {
    fiber stack;
    block* owner = nullptr;
    state now = state::DONE;
    const char* place = nullptr;  // file of a barrier, name of a warp operation
    int line = 0;
  };

  struct group {
    int arrived = 0;
    void* lanes[WARP];
  };

  struct array {
    const char* name;
    uint64_t generation;
    std::unique_ptr<char[]> memory;
  };

  void* fresh(array& wanted, int64_t bytes) {
    if (wanted.generation != generation_) {
      wanted.memory.reset(new char[bytes]);  // exact, so that a sanitizer sees its end
      std::memset(wanted.memory.get(), POISON, bytes);
      wanted.generation = generation_;
    }
    return wanted.memory.get();
  }

  void run_in_place() {
    for (int number : *order_) {
      running_ = number;
      threadIdx = {static_cast<unsigned>(number)};
      function_(launch_);
    }
  }

  void run_fibers() {
    const int count = static_cast<int>(order_->size());
    while (static_cast<int>(threads_.size()) < count) threads_.emplace_back();
    warps_.assign((count + WARP - 1) / WARP, {});
    failure_ = nullptr;
    for (int i = 0; i < count; ++i) start(threads_[i]);
    for (int done = 0; done < count;) {
      const int before = done;
      const bool moved = pass(done);
      if (failure_) abandon();
      if (!release_barrier(count) && !moved && done == before) throw_divergence(stuck());
    }
  }

  void start(thread& one) {
    if (one.owner == nullptr) one.stack.prepare(&block::thread_main, &one);
    one.owner = this;
    one.now = state::READY;
  }

  // Resumes each thread that can go on; whether there was one.
  bool pass(int& done) {
    bool moved = false;
    for (int number : *order_) {
      thread& one = threads_[number];
      if (one.now != state::READY) continue;
      moved = true;
      running_ = number;
      threadIdx = {static_cast<unsigned>(number)};
      fiber::change(scheduler_, one.stack);
      done += one.now == state::DONE;
      if (failure_) break;
    }
    return moved;
  }

  // A stack serves one block after another, on whichever CPU thread runs them: nothing here may
  // keep the address of a thread_local over a switch.
  static void thread_main(void* argument) {
    auto& self = *static_cast<thread*>(argument);
    for (;;) {
      block& owner = *self.owner;
      try {
        owner.function_(owner.launch_);
      } catch (...) {
        owner.failure_ = std::current_exception();
      }
      self.now = state::DONE;
      fiber::change(self.stack, owner.scheduler_);
    }
  }

  void wait(state what, const char* place, int line) {
    thread& self = threads_[running_];
    self.now = what;
    self.place = place;
    self.line = line;
    fiber::change(self.stack, scheduler_);
  }

  bool release_barrier(int count) {
    for (int i = 0; i < count; ++i) {
      const thread& one = threads_[i];
      if (one.now != state::AT_BARRIER) return false;
      if (one.place != threads_[0].place || one.line != threads_[0].line) throw_divergence(i);
    }
    for (int i = 0; i < count; ++i) threads_[i].now = state::READY;
    return true;
  }

  // A thread that waits although no other can move.
  int stuck() const {
    int number = 0;
    while (threads_[number].now == state::DONE) ++number;
    return number;
  }

  void need_fibers(const char* what) const {
    if (!barriers_)
      throw std::logic_error(std::string(what) + " in a kernel launched without barriers");
  }

  std::string doing(const thread& one) const {
    if (one.now == state::DONE) return "has returned";
    if (one.now == state::READY) return "runs";
    const std::string line = one.line ? ":" + std::to_string(one.line) : "";
    return (one.now == state::AT_WARP ? "waits for its warp in " : "waits at the barrier ") +
           std::string(one.place) + line;
  }

  [[noreturn]] void throw_divergence(int number) {
    const int count = static_cast<int>(order_->size());
    int other = 0;
    for (int i = 0; i < count; ++i)
      if (doing(threads_[i]) != doing(threads_[number])) other = i;
    const std::string what = "barrier that not all threads reach: thread " +
                             std::to_string(number) + " " + doing(threads_[number]) +
                             ", thread " + std::to_string(other) + " " + doing(threads_[other]);
    running_ = number;
    threadIdx = {static_cast<unsigned>(number)};
    forget_stacks();
    fault(what);
  }

  [[noreturn]] void abandon() {
    forget_stacks();
    std::rethrow_exception(failure_);
  }

  void forget_stacks() {
    for (thread& one : threads_) one.owner = nullptr;
  }

  body function_ = nullptr;
  const void* launch_ = nullptr;
  const std::vector<int>* order_ = nullptr;
  bool barriers_ = false;
  int running_ = 0;
  uint64_t generation_ = 0;
  std::exception_ptr failure_;
  fiber scheduler_;
  std::deque<thread> threads_;
  std::vector<group> warps_;
  std::deque<array> arrays_;
};

}  // namespace host
}  // namespace exllama

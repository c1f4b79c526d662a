// Stacks of their own, to suspend a thread of a block inside a barrier. ucontext makes them; the
// switches after the first go through _setjmp, which unlike swapcontext makes no system call.
#pragma once

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#define EXLLAMA_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EXLLAMA_ADDRESS_SANITIZER 1
#endif
#endif

#ifdef EXLLAMA_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// By its plain name: the checked form that distributions put in its place takes a jump to another
// stack for an overflow.
extern "C" [[noreturn]] void exllama_plain_longjmp(jmp_buf, int) __asm__("_longjmp");

namespace exllama::host {

class fiber {
 public:
  using entry = void (*)(void* argument);

  fiber() = default;  // the stack that is running now: a place to come back to
  fiber(const fiber&) = delete;
  fiber& operator=(const fiber&) = delete;
  ~fiber() {
    if (memory_ != nullptr) munmap(memory_, page() + size_);
  }

  // The next switch here calls entry(argument), which must not return.
  void prepare(entry function, void* argument) {
    if (memory_ == nullptr) allocate();
    forget_frames();
    getcontext(&first_);
    first_.uc_stack.ss_sp = stack_;
    first_.uc_stack.ss_size = size_;
    first_.uc_link = nullptr;
    function_ = function;
    argument_ = argument;
    const auto self = reinterpret_cast<uintptr_t>(this);
    makecontext(&first_, reinterpret_cast<void (*)()>(&fiber::start), 2,
                static_cast<unsigned>(self >> 32), static_cast<unsigned>(self));
    fresh_ = true;
  }

  __attribute__((noinline)) static void change(fiber& from, fiber& to) {
    leave(from, to);
    if (_setjmp(from.place_) == 0) {
      if (to.fresh_) {
        to.fresh_ = false;
        setcontext(&to.first_);
      }
      exllama_plain_longjmp(to.place_, 1);
    }
    arrive(from);
  }

 private:
#ifdef EXLLAMA_ADDRESS_SANITIZER
  static constexpr size_t STACK_BYTES = 512 << 10;
  static void leave(fiber& from, fiber& to) {
    __sanitizer_start_switch_fiber(&from.shadow_, to.stack_, to.size_);
    to.comes_from_ = &from;
  }
  static void arrive(fiber& here) {
    const void* bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(here.shadow_, &bottom, &size);
    if (here.comes_from_->memory_ == nullptr) here.comes_from_->remember(bottom, size);
  }
  void remember(const void* bottom, size_t size) {
    stack_ = const_cast<void*>(bottom);
    size_ = size;
  }
  void forget_frames() {
    __asan_unpoison_memory_region(stack_, size_);
    shadow_ = nullptr;
  }
#else
  static constexpr size_t STACK_BYTES = 64 << 10;
  static void leave(fiber&, fiber&) {}
  static void arrive(fiber&) {}
  void forget_frames() {}
#endif

  static size_t page() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

  // A page that nothing may touch lies below the stack.
  void allocate() {
    memory_ = mmap(nullptr, page() + STACK_BYTES, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory_ == MAP_FAILED) {
      memory_ = nullptr;
      throw std::bad_alloc();
    }
    mprotect(memory_, page(), PROT_NONE);
    stack_ = static_cast<char*>(memory_) + page();
    size_ = STACK_BYTES;
  }

  static void start(unsigned high, unsigned low) {
    auto* self = reinterpret_cast<fiber*>(static_cast<uintptr_t>(high) << 32 | low);
    arrive(*self);
    self->function_(self->argument_);
  }

  void* memory_ = nullptr;
  void* stack_ = nullptr;
  size_t size_ = 0;
  ucontext_t first_;
  jmp_buf place_;
  bool fresh_ = false;
  entry function_ = nullptr;
  void* argument_ = nullptr;
  fiber* comes_from_ = nullptr;
  void* shadow_ = nullptr;
};

}  // namespace exllama::host

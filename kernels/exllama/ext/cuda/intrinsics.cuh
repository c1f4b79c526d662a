// One named function for each instruction that C++ has no word for. Each has its twin of the same
// name in host/intrinsics.h.
#pragma once

#include "launch.h"

namespace exllama {

__device__ __forceinline__ half half_of_bits(uint32_t bits) {
  return __ushort_as_half(static_cast<unsigned short>(bits));
}

__device__ __forceinline__ uint32_t bits_of_half(half value) { return __half_as_ushort(value); }

__device__ __forceinline__ half2 half2_of_bits(uint32_t bits) {
  return *reinterpret_cast<half2*>(&bits);
}

__device__ __forceinline__ uint32_t bits_of_half2(half2 value) {
  return *reinterpret_cast<uint32_t*>(&value);
}

// The bits of `word` under `mask`, among those of `others`, in one instruction.
__device__ __forceinline__ uint32_t select_bits(uint32_t word, uint32_t mask, uint32_t others) {
  constexpr int AND_THEN_OR = (0xf0 & 0xcc) | 0xaa;
  uint32_t result;
  asm("lop3.b32 %0, %1, %2, %3, %4;"
      : "=r"(result)
      : "r"(word), "r"(mask), "r"(others), "n"(AND_THEN_OR));
  return result;
}

// A value that is the same in all lanes of a warp, in a form that shows it to the compiler.
__device__ __forceinline__ int same_in_warp(int value) {
  return __shfl_sync(0xffffffff, value, 0);
}

// Four words that are read once: they need not stay in the first cache.
__device__ __forceinline__ uint4 load_streaming(const uint32_t* words, int64_t index) {
  uint4 read;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(read.x), "=r"(read.y), "=r"(read.z), "=r"(read.w)
               : "l"(words + index));
  return read;
}

__device__ __forceinline__ uint4 load_words(const uint32_t* words, int64_t index) {
  return __ldg(reinterpret_cast<const uint4*>(words + index));
}

// Eight halves in a row, aligned to 16 bytes.
__device__ __forceinline__ uint4 load_octet(const half* values, int64_t index) {
  return *reinterpret_cast<const uint4*>(values + index);
}

__device__ __forceinline__ void store_octet(half* values, int64_t index, const uint4& octet) {
  *reinterpret_cast<uint4*>(values + index) = octet;
}

// The value of the lane whose number differs by `mask`.
template <class T>
__device__ __forceinline__ T shuffle_xor(T value, int mask) {
  return __shfl_xor_sync(0xffffffff, value, mask);
}

// sums [16, 8] += a [16, 16] times b [16, 8], spread over a warp as mma.m16n8k16 has them: products
// of halves are exact, sums are float32.
__device__ __forceinline__ void mma_16x8x16(float (&sums)[4], const uint32_t (&a)[4],
                                            const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

}  // namespace exllama

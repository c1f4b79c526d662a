// Words of a unit -> operands of tensor cores.
#pragma once

#include "asm.cuh"
#include "units.h"

namespace exllama::sm90 {

// Scale and biased zero-point of a lane's two columns of a fragment, each twice in a word.
struct column_scales {
  uint32_t scale[2], zero[2];

  // `words` as a unit has them: the scale is the lower half.
  __device__ __forceinline__ explicit column_scales(uint2 words)
      : scale{lower_twice(words.x), lower_twice(words.y)},
        zero{upper_twice(words.x), upper_twice(words.y)} {}

  __device__ __forceinline__ float factor(int column) const {
    return __half2float(__ushort_as_half(static_cast<unsigned short>(scale[column])));
  }
};

template <int TABLE>
__device__ __forceinline__ uint32_t select3(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t r;
  asm("lop3.b32 %0, %1, %2, %3, %4;" : "=r"(r) : "r"(a), "r"(b), "r"(c), "n"(TABLE));
  return r;
}

// q - z, exact; with SCALED times s, rounded once: what one word is in a fragment.
template <bool SCALED>
__device__ __forceinline__ void numbers_of_codes(uint32_t word, const column_scales& columns,
                                                 uint32_t (&a)[4]) {
  constexpr int AND_THEN_OR = (0xf0 & 0xcc) | 0xaa;
  const uint32_t swapped = __byte_perm(word, word, 0x2301);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const uint32_t from = i < 2 ? word : swapped;
    const uint32_t biased = i % 2 == 0 ? select3<AND_THEN_OR>(from, 0x003c003c, 0x5c005c00)
                                       : select3<AND_THEN_OR>(from, 0x03c003c0, 0x4c004c00);
    a[i] = subtract_halves(biased, columns.zero[i % 2]);
    if (SCALED) a[i] = multiply_halves(a[i], columns.scale[i % 2]);
  }
}

}  // namespace exllama::sm90

// Codes of a lane -> weights (q - z) * s, rounded once to float16, as tensor cores take them.
#pragma once

#include "layout.h"

namespace exllama {

constexpr uint32_t LOW_CODES = 0x000f000f;   // two codes of a word, 16 bits apart
constexpr uint32_t HIGH_CODES = 0x00f000f0;  // the two that follow, 16 times as large
constexpr uint32_t BOTH = 0x00010001;        // times 16 bits: these twice
// As halves: 1024 + q is 0x6400 + q, and 64 + z is 0x5400 + 16 z. Halves of this size are integers
// and sixteenths, so codes become numbers by an OR, and the differences below are exact.
constexpr uint32_t HALF_1024 = 0x6400;
constexpr uint32_t HALF_MINUS_64 = 0xd400;
constexpr uint32_t HALF_SIXTEENTH = 0x2c00;

// The zero-point in a word of scales: 1024 + z in the columns whose codes are low ones,
// -(64 + z) in the others, as a half above the scale.
__device__ __forceinline__ uint32_t zero_bits(int column, uint32_t zero) {
  return column % FRAGMENT_COLUMNS < 8 ? HALF_1024 | zero : HALF_MINUS_64 | zero << 4;
}

// The two columns of a lane in a fragment. HALF2: codes become weights in pairs of halves.
template <bool HALF2>
struct column_pair;

template <>
struct column_pair<true> {
  half2 low, high;  // scale and zero-point

  __device__ __forceinline__ column_pair(uint32_t first, uint32_t second)
      : low(half2_of_bits(first)), high(half2_of_bits(second)) {}

  __device__ __forceinline__ void dequantize(uint32_t word, uint32_t (&fragment)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
      const half2 one = half2_of_bits(select_bits(word, LOW_CODES, HALF_1024 * BOTH));
      const half2 other = half2_of_bits(select_bits(word, HIGH_CODES, HALF_1024 * BOTH));
      const half2 sixteenth = half2_of_bits(HALF_SIXTEENTH * BOTH);
      const half2 first = __hsub2(one, __high2half2(low));
      const half2 second = __hfma2(other, sixteenth, __high2half2(high));
      fragment[i] = bits_of_half2(__hmul2(first, __low2half2(low)));
      fragment[i + 1] = bits_of_half2(__hmul2(second, __low2half2(high)));
      word >>= 8;
    }
  }
};

template <>
struct column_pair<false> {
  int zero[2];
  float scale[2];

  __device__ __forceinline__ column_pair(uint32_t first, uint32_t second)
      : zero{static_cast<int>(first >> ZERO_SHIFT & CODE_MASK),
             static_cast<int>(second >> (ZERO_SHIFT + 4) & CODE_MASK)},
        scale{__half2float(half_of_bits(first & 0xffff)),
              __half2float(half_of_bits(second & 0xffff))} {}

  __device__ __forceinline__ void dequantize(uint32_t word, uint32_t (&fragment)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      fragment[i] = weight(word, i, i % 2) | weight(word, i + 4, i % 2) << 16;
  }

 private:
  __device__ __forceinline__ uint32_t weight(uint32_t word, int field, int column) const {
    const int code = static_cast<int>(word >> (field * BITS) & CODE_MASK);
    const float product = static_cast<float>(code - zero[column]) * scale[column];
    return bits_of_half(__float2half_rn(product));
  }
};

// Zero in the rows of a fragment that its chunk does not have: what the scales make of the codes
// there may be NaN. `row` is the lane's first row of the fragment.
__device__ __forceinline__ void drop_rows(uint32_t (&fragment)[4], int row, int rows) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int first = row + i / 2 * 2;
    if (first >= rows) fragment[i] = 0;
    if (first + 1 >= rows) fragment[i] &= 0xffff;
  }
}

}  // namespace exllama

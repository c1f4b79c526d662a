// What a GPU does in one instruction, spelled out. Each function has its twin of the same name in
// cuda/intrinsics.cuh.
#pragma once

#include <cstdint>

#include "block.h"
#include "half.h"
#include "span.h"

namespace exllama {

struct uint2 {
  uint32_t x, y;
};

struct uint4 {
  uint32_t x, y, z, w;
};

namespace host {

// An access to all of `From`s that a `To` covers: inside the buffer, and aligned as a GPU needs it.
template <class To, class From>
To* reach_vector(span<From> buffer, int64_t index) {
  constexpr int64_t COUNT = sizeof(To) / sizeof(From);
  auto* first = buffer.reach(index, COUNT);
  if (reinterpret_cast<uintptr_t>(first) % sizeof(To) != 0)
    fault("misaligned access to " + std::to_string(sizeof(To)) + " bytes at index " +
          std::to_string(index));
  return reinterpret_cast<To*>(first);
}

template <class To, class From>
To load_vector(span<const From> buffer, int64_t index) {
  To value;
  std::memcpy(&value, reach_vector<const To>(buffer, index), sizeof(To));
  return value;
}

}  // namespace host

inline half half_of_bits(uint32_t bits) { return {static_cast<uint16_t>(bits)}; }

inline half2 half2_of_bits(uint32_t bits) {
  return {half_of_bits(bits), half_of_bits(bits >> 16)};
}

inline uint32_t bits_of_half(half value) { return value.bits; }

inline uint32_t bits_of_half2(half2 value) {
  return value.x.bits | static_cast<uint32_t>(value.y.bits) << 16;
}

// The bits of `word` under `mask`, among those of `others`.
inline uint32_t select_bits(uint32_t word, uint32_t mask, uint32_t others) {
  return (word & mask) | others;
}

// A value that is the same in all lanes of a warp, in a form that shows it to a GPU's compiler.
inline int same_in_warp(int value) { return value; }

// Four words that are read once.
inline uint4 load_streaming(span<const uint32_t> words, int64_t index) {
  return host::load_vector<uint4>(words, index);
}

inline uint4 load_words(span<const uint32_t> words, int64_t index) {
  return host::load_vector<uint4>(words, index);
}

// Eight halves in a row, aligned to 16 bytes.
inline uint4 load_octet(span<const half> values, int64_t index) {
  return host::load_vector<uint4>(values, index);
}

inline void store_octet(span<half> values, int64_t index, const uint4& octet) {
  std::memcpy(host::reach_vector<uint4>(values, index), &octet, sizeof(octet));
}

// The value of the lane whose number differs by `mask`.
template <class T>
T shuffle_xor(T value, int mask) {
  struct lane {
    T given, taken;
    int mask;
  } mine{value, {}, mask};
  host::block::here("shuffle_xor")
      .warp(
          mine,
          [](lane** lanes) {
            for (int i = 0; i < host::WARP; ++i)
              lanes[i]->taken = lanes[(i ^ lanes[i]->mask) % host::WARP]->given;
          },
          "shuffle_xor");
  return mine.taken;
}

namespace host {

struct mma_lane {
  float* sums;
  const uint32_t *a, *b;
};

inline float half_of_word(uint32_t word, int which) {
  return exact(half_of_bits(word >> (16 * which)));
}

inline void mma_of_warp(mma_lane** lanes) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < WARP; ++lane) {
    const int row = lane / 4, pair = lane % 4 * 2;
    for (int which = 0; which < 2; ++which) {
      for (int i = 0; i < 4; ++i)
        a[row + i % 2 * 8][pair + which + i / 2 * 8] = half_of_word(lanes[lane]->a[i], which);
      for (int i = 0; i < 2; ++i)
        b[pair + which + i * 8][row] = half_of_word(lanes[lane]->b[i], which);
    }
  }
  for (int lane = 0; lane < WARP; ++lane)
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      float sum = lanes[lane]->sums[i];
      for (int k = 0; k < 16; ++k) sum += a[row][k] * b[k][column];
      lanes[lane]->sums[i] = sum;
    }
}

}  // namespace host

// sums [16, 8] += a [16, 16] times b [16, 8], spread over a warp as mma.m16n8k16 has them: products
// of halves are exact, sums are float32.
inline void mma_16x8x16(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  host::mma_lane mine{sums, a, b};
  host::block::here("mma_16x8x16").warp(mine, host::mma_of_warp, "mma_16x8x16");
}

}  // namespace exllama

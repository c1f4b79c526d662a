// Each function of the device header against its definition; the same file runs on a GPU.
#include "array.h"
#include "checks.h"
#include "elements.cuh"
#include "exact.h"
#include "problem.h"

namespace exllama::test {

namespace {

constexpr int ALL_HALVES = 65536;

std::string hex(uint32_t bits) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%04x", bits);
  return text;
}

// Pairs of halves in a word: every special one with every other, then random bits.
std::vector<uint32_t> sampled_pairs(uint64_t seed) {
  const uint32_t special[] = {0x0000, 0x8000, 0x0001, 0x8001, 0x0002, 0x03ff, 0x0400, 0x0401,
                              0x07ff, 0x3bff, 0x3c00, 0xbc00, 0x3c01, 0x2c00, 0x6400, 0x640f,
                              0xd400, 0xd4f0, 0x7bff, 0xfbff, 0x7bfe, 0x7c00, 0xfc00, 0x7e00};
  std::vector<uint32_t> words;
  for (uint32_t one : special)
    for (uint32_t other : special) words.push_back(one | other << 16);
  generator draw(seed);
  while (words.size() < 200000) words.push_back(static_cast<uint32_t>(draw.next() >> 32));
  return words;
}

__global__ void float_kernel(span<float> values, int64_t count) {
  const int64_t i = element_of_thread();
  if (i < count) values[i] = __half2float(half_of_bits(static_cast<uint32_t>(i)));
}

CHECK_THAT(halves_become_floats_exactly) {
  array<float> result(ALL_HALVES);
  launch_without_barriers("float", float_kernel, blocks_for(ALL_HALVES), ELEMENT_THREADS, {},
                          result.view(), int64_t{ALL_HALVES});
  const auto values = result.read();
  for (uint32_t bits = 0; bits < ALL_HALVES; ++bits) {
    const double wanted = value_of(bits);
    const bool same = std::isnan(wanted) ? std::isnan(values[bits])
                                         : values[bits] == wanted &&
                                               std::signbit(values[bits]) == std::signbit(wanted);
    expect(same, "the value of half " + hex(bits));
  }
}

__global__ void round_kernel(span<const float> values, span<uint32_t> result, int64_t count) {
  const int64_t i = element_of_thread();
  if (i < count) result[i] = bits_of_half(__float2half_rn(values[i]));
}

CHECK_THAT(floats_are_rounded_to_nearest_even) {
  std::vector<float> values{INFINITY, -INFINITY, 65519.99f, 65520.0f, -65520.0f, 1e30f, 1e-30f};
  std::vector<uint32_t> wanted{0x7c00, 0xfc00, 0x7bff, 0x7c00, 0xfc00, 0x7c00, 0};
  for (uint32_t bits = 0; bits < 0x7bff; ++bits)
    for (uint32_t sign : {0u, 0x8000u}) {  // around the tie of two neighbours, and themselves
      const auto tie = static_cast<float>((value_of(bits) + value_of(bits + 1)) / 2);
      const float sided = sign ? -1.0f : 1.0f;
      const uint32_t even = bits + bits % 2;
      values.insert(values.end(), {sided * std::nextafter(tie, 0.0f), sided * tie,
                                   sided * std::nextafter(tie, 1e9f),
                                   sided * static_cast<float>(value_of(bits))});
      wanted.insert(wanted.end(), {sign | bits, sign | even, sign | (bits + 1), sign | bits});
    }
  const auto count = static_cast<int64_t>(values.size());
  array<float> given(values);
  array<uint32_t> result(count);
  launch_without_barriers("round", round_kernel, blocks_for(count), ELEMENT_THREADS, {},
                          given.view(), result.view(), count);
  const auto found = result.read();
  for (int64_t i = 0; i < count; ++i)
    expect(same_half(found[i], wanted[i]),
           hex(wanted[i]) + " for " + std::to_string(values[i]) + ", not " + hex(found[i]));
}

enum operation { SUB, MUL, FMA, LOW, HIGH, SELECT, OPERATIONS };

__global__ void pair_kernel(span<const uint32_t> a, span<const uint32_t> b,
                            span<const uint32_t> c, span<uint32_t> result, int64_t count) {
  const int64_t i = element_of_thread();
  if (i >= count) return;
  const half2 first = half2_of_bits(a[i]), second = half2_of_bits(b[i]);
  result[i * OPERATIONS + SUB] = bits_of_half2(__hsub2(first, second));
  result[i * OPERATIONS + MUL] = bits_of_half2(__hmul2(first, second));
  result[i * OPERATIONS + FMA] = bits_of_half2(__hfma2(first, second, half2_of_bits(c[i])));
  result[i * OPERATIONS + LOW] = bits_of_half2(__low2half2(first));
  result[i * OPERATIONS + HIGH] = bits_of_half2(__high2half2(first));
  result[i * OPERATIONS + SELECT] = select_bits(a[i], b[i], c[i]);
}

CHECK_THAT(pairs_of_halves_are_computed_with_one_rounding) {
  const auto a = sampled_pairs(1);
  auto b = sampled_pairs(2), c = sampled_pairs(3);
  for (uint32_t& word : b) word = word << 16 | word >> 16;
  const auto count = static_cast<int64_t>(a.size());
  array<uint32_t> given_a(a), given_b(b), given_c(c), result(count * OPERATIONS);
  launch_without_barriers("pairs", pair_kernel, blocks_for(count), ELEMENT_THREADS, {},
                          given_a.view(), given_b.view(), given_c.view(), result.view(), count);
  const auto found = result.read();
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t* now = &found[i * OPERATIONS];
    expect(now[SELECT] == ((a[i] & b[i]) | c[i]), "selected bits");
    expect(now[LOW] == (a[i] & 0xffff) * 0x10001u, "the low half twice");
    expect(now[HIGH] == (a[i] >> 16) * 0x10001u, "the high half twice");
    for (int side = 0; side < 32; side += 16) {
      const uint32_t x = a[i] >> side & 0xffff, y = b[i] >> side & 0xffff;
      const uint32_t z = c[i] >> side & 0xffff;
      const std::string of = hex(x) + " and " + hex(y);
      expect(same_half(now[SUB] >> side & 0xffff, difference(x, y)), "the difference of " + of);
      expect(same_half(now[MUL] >> side & 0xffff, product(x, y)), "the product of " + of);
      expect(same_half(now[FMA] >> side & 0xffff, product_plus(x, y, z)),
             "the product of " + of + " plus " + hex(z) + " once rounded");
    }
  }
}

__global__ void shuffle_kernel(int mask, span<int> result) {
  result[blockIdx.x * 64 + threadIdx.x] = shuffle_xor(static_cast<int>(threadIdx.x * 3), mask);
}

CHECK_THAT(lanes_exchange_values_within_their_warp) {
  for (int mask : {1, 2, 4, 8, 16, 21, 31}) {
    array<int> result(128);
    launch("shuffle", shuffle_kernel, {2}, 64, {}, mask, result.view());
    const auto found = result.read();
    for (int i = 0; i < 128; ++i) expect(found[i] == (i % 64 ^ mask) * 3, "the other lane's value");
  }
}

// The layout of fragments as the PTX manual gives it: lane 4 g + t holds rows g and g + 8 of a, and
// columns 2 t, 2 t + 1 and these plus 8; column g of b; columns 2 t and 2 t + 1 of the sums.
__global__ void mma_kernel(span<const half> a, span<const half> b, span<float> sums) {
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  uint32_t left[4], right[2];
  float mine[4];
  for (int i = 0; i < 4; ++i) {
    const int64_t place = (g + i % 2 * 8) * 16 + t * 2 + i / 2 * 8;
    left[i] = bits_of_half(a[place]) | bits_of_half(a[place + 1]) << 16;
    mine[i] = sums[(g + i / 2 * 8) * 8 + t * 2 + i % 2];
  }
  for (int i = 0; i < 2; ++i) {
    const int64_t row = t * 2 + i * 8;
    right[i] = bits_of_half(b[row * 8 + g]) | bits_of_half(b[row * 8 + 8 + g]) << 16;
  }
  mma_16x8x16(mine, left, right);
  for (int i = 0; i < 4; ++i) sums[(g + i / 2 * 8) * 8 + t * 2 + i % 2] = mine[i];
}

CHECK_THAT(fragments_are_multiplied_as_matrices) {
  generator draw(4);
  std::vector<int> a(256), b(128), start(128);
  for (auto* values : {&a, &b, &start})
    for (int& value : *values) value = static_cast<int>(draw.up_to(40)) - 20;
  std::vector<half> left, right;
  for (int value : a) left.push_back(__float2half_rn(static_cast<float>(value)));
  for (int value : b) right.push_back(__float2half_rn(static_cast<float>(value)));
  array<half> given_a(left), given_b(right);
  array<float> sums(std::vector<float>(start.begin(), start.end()));
  launch("mma", mma_kernel, {1}, LANES, {}, given_a.view(), given_b.view(), sums.view());
  const auto found = sums.read();
  for (int row = 0; row < 16; ++row)
    for (int column = 0; column < 8; ++column) {
      int wanted = start[row * 8 + column];
      for (int k = 0; k < 16; ++k) wanted += a[row * 16 + k] * b[k * 8 + column];
      expect(found[row * 8 + column] == static_cast<float>(wanted), "the product of the fragments");
    }
}

__global__ void copy_kernel(span<const uint32_t> words, span<const half> halves, span<half> copy) {
  SHARED_ARRAY(half, turned, 2 * LANES * 8);
  const int lane = threadIdx.x % LANES, warp = same_in_warp(threadIdx.x / LANES);
  const uint4 read = warp ? load_words(words, lane * 4) : load_streaming(words, lane * 4);
  store_octet(turned, (2 * LANES - 1 - threadIdx.x) * 8, read);
  __syncthreads();
  store_octet(copy, threadIdx.x * 8, load_octet(turned, threadIdx.x * 8));
  store_octet(copy, 2 * LANES * 8 + threadIdx.x * 8, load_octet(halves, threadIdx.x * 8));
}

CHECK_THAT(vectors_arrive_whole_and_barriers_hold) {
  std::vector<uint32_t> words(LANES * 4);
  std::vector<half> halves;
  for (size_t i = 0; i < words.size(); ++i) words[i] = static_cast<uint32_t>(i * 0x01030507);
  for (int i = 0; i < 2 * LANES * 8; ++i) halves.push_back(__float2half_rn(static_cast<float>(i)));
  array<uint32_t> given(words);
  array<half> given_halves(halves), result(4 * LANES * 8);
  launch("copy", copy_kernel, {1}, 2 * LANES, {}, given.view(), given_halves.view(), result.view());
  const auto found = result.read();
  for (int thread = 0; thread < 2 * LANES; ++thread) {
    const int source = (2 * LANES - 1 - thread) % LANES;
    expect(std::memcmp(&found[thread * 8], &words[source * 4], 16) == 0, "words of another thread");
  }
  expect(std::memcmp(&found[2 * LANES * 8], halves.data(), 2 * halves.size()) == 0, "all halves");
}

}  // namespace
}  // namespace exllama::test

int main(int count, char** words) { return exllama::test::run_checks(count, words); }

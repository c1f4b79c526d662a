// One product with its operands, and between what its results must lie: read from a file, or drawn.
//
// A file is the line "gptq-fuzz exllama problems 1", then problems. A problem is a line of text,
//   NAME m n k groups x_stride x_offset recons_thd fused_remap no_half2 order order_seed g_idx
// (g_idx 1 or 0: present or not; order 0 forward, 1 reverse, 2 random), and after it the bytes of
//   qweight int32 [k / 8, n], qzeros int32 [groups, n / 8], scales float16 [groups, n],
//   g_idx int32 [k] if present, x float16 [x_offset + (m - 1) x_stride + k, or x_offset for m = 0],
//   low float16 [m, n], high float16 [m, n], least significant byte first.
// Each result must satisfy low <= result <= high, -0 as 0. NaN in both: it must be NaN. NaN in low
// alone: NaN or an infinity.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace exllama::test {

constexpr const char* FIRST_LINE = "gptq-fuzz exllama problems 1";

struct problem {
  std::string name;
  int64_t m = 0, n = 0, k = 0, groups = 0;
  int64_t x_stride = 0, x_offset = 0;
  int recons_thd = 0;
  bool fused_remap = false, no_half2 = false;
  int order = 0;
  uint64_t order_seed = 0;
  std::vector<uint32_t> qweight, qzeros;
  std::vector<int32_t> g_idx;  // empty: none
  std::vector<uint16_t> scales, x, low, high;

  int64_t x_elements() const { return x_offset + (m > 0 ? (m - 1) * x_stride + k : 0); }
};

inline bool is_nan(uint16_t bits) { return (bits & 0x7fff) > 0x7c00; }

// Halves in the order of their values, both zeros the same.
inline int rank_of(uint16_t bits) {
  const int magnitude = bits & 0x7fff;
  return bits & 0x8000 ? -magnitude : magnitude;
}

inline bool is_right(uint16_t result, uint16_t low, uint16_t high) {
  if (is_nan(low)) return is_nan(result) || (!is_nan(high) && (result & 0x7fff) == 0x7c00);
  return !is_nan(result) && rank_of(low) <= rank_of(result) && rank_of(result) <= rank_of(high);
}

template <class T>
void read_bytes(std::istream& file, std::vector<T>& values, int64_t count) {
  values.resize(count);
  file.read(reinterpret_cast<char*>(values.data()), count * sizeof(T));
}

inline problem read_problem(const std::string& line, std::istream& file) {
  problem p;
  bool has_g_idx = false;
  std::istringstream words(line);
  words >> p.name >> p.m >> p.n >> p.k >> p.groups >> p.x_stride >> p.x_offset >> p.recons_thd >>
      p.fused_remap >> p.no_half2 >> p.order >> p.order_seed >> has_g_idx;
  if (!words) throw std::runtime_error("not a problem: " + line);
  read_bytes(file, p.qweight, p.k / 8 * p.n);
  read_bytes(file, p.qzeros, p.groups * p.n / 8);
  read_bytes(file, p.scales, p.groups * p.n);
  read_bytes(file, p.g_idx, has_g_idx ? p.k : 0);
  read_bytes(file, p.x, p.x_elements());
  read_bytes(file, p.low, p.m * p.n);
  read_bytes(file, p.high, p.m * p.n);
  if (!file) throw std::runtime_error("the file ends within " + p.name);
  return p;
}

// ---- problems drawn at random: small integers and powers of two, so that float32 sums are exact

class generator {
 public:
  explicit generator(uint64_t seed) : state_(seed) {}

  uint64_t next() {  // xorshift64*
    state_ = state_ == 0 ? 1 : state_;
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1d;
  }
  int64_t up_to(int64_t most) {
    return static_cast<int64_t>(next() >> 16) % (most + 1);
  }
  int64_t one_of(std::initializer_list<int64_t> values) {
    return values.begin()[up_to(static_cast<int64_t>(values.size()) - 1)];
  }

 private:
  uint64_t state_;
};

constexpr int MOST_X = 3;
constexpr int LEAST_SCALE = -4;  // exponent of two

inline uint16_t half_of_integer(int value) {  // up to 2048
  if (value == 0) return 0;
  const int magnitude = std::abs(value);
  const int exponent = std::ilogb(magnitude);
  const int mantissa = (magnitude << 10 >> exponent) & 0x3ff;
  return static_cast<uint16_t>((value < 0 ? 0x8000 : 0) | (exponent + 15) << 10 | mantissa);
}

// The half next to a multiple of 2^LEAST_SCALE; of two, the even one.
inline uint16_t half_of_steps(int64_t steps) {
  if (steps == 0) return 0;
  const int64_t magnitude = std::llabs(steps);
  const int exponent = std::ilogb(static_cast<double>(magnitude));
  const int dropped = std::max(0, exponent - 10);
  int64_t kept = magnitude >> dropped;
  const int64_t rest = magnitude - (kept << dropped), tie = dropped ? int64_t{1} << (dropped - 1) : 0;
  if (dropped && (rest > tie || (rest == tie && kept % 2))) ++kept;
  if (exponent < 10) kept <<= 10 - exponent;
  const int64_t field = ((exponent + LEAST_SCALE + 14) << 10) + kept;  // kept is 1024 and more
  return static_cast<uint16_t>((steps < 0 ? 0x8000 : 0) | std::min<int64_t>(field, 0x7c00));
}

inline void draw_sizes(problem& p, generator& draw) {
  p.m = draw.one_of({1, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 65, 70});
  p.n = 8 * (1 + draw.up_to(draw.one_of({0, 3, 4, 8, 12})));
  p.k = 8 * (1 + draw.up_to(draw.one_of({0, 3, 4, 16, 40})));
  p.groups = 1 + draw.up_to(std::min<int64_t>(p.k - 1, draw.one_of({0, 1, 3, 8, 70})));
  p.x_offset = draw.one_of({0, 0, 1, 8});
  p.x_stride = p.k + draw.one_of({0, 0, 1, 8, 24});
  p.recons_thd = static_cast<int>(draw.one_of({0, 0, -1, -9, 1, 8}));
  p.fused_remap = draw.up_to(1);
  p.no_half2 = draw.up_to(1);
  p.order = static_cast<int>(draw.up_to(2));
  p.order_seed = draw.next();
}

inline void draw_groups(problem& p, generator& draw) {
  const int64_t kind = draw.up_to(3);
  if (kind == 0 && p.k % p.groups == 0) return;
  const int64_t size = (p.k + p.groups - 1) / p.groups;
  for (int64_t row = 0; row < p.k; ++row)
    p.g_idx.push_back(static_cast<int32_t>(kind == 1 ? draw.up_to(p.groups - 1) : row / size));
  if (kind == 3)
    for (int64_t row = p.k - 1; row > 0; --row) std::swap(p.g_idx[row], p.g_idx[draw.up_to(row)]);
}

inline int64_t group_of(const problem& p, int64_t row) {
  return p.g_idx.empty() ? row / (p.k / p.groups) : p.g_idx[row];
}

inline int zero_of(const problem& p, int64_t place) {  // place in [groups, n]
  return ((p.qzeros[place / 8] >> (place % 8 * 4) & 15) + 1) & 15;
}

inline int code_of(const problem& p, int64_t row, int64_t column) {
  return p.qweight[row / 8 * p.n + column] >> (row % 8 * 4) & 15;
}

// Exponents of the scales, over LEAST_SCALE. Large ones come with codes next to the zero-points:
// 15 steps away, where no code of this problem is, weights are infinite.
inline std::vector<int> draw_weights(problem& p, generator& draw) {
  const bool large = draw.up_to(3) == 0;
  const int least = large ? 12 - LEAST_SCALE : 0, most = large ? 15 - LEAST_SCALE : 4;
  p.qweight.resize(p.k / 8 * p.n);
  p.qzeros.resize(p.groups * p.n / 8);
  for (auto* words : {&p.qweight, &p.qzeros})
    for (uint32_t& word : *words) word = static_cast<uint32_t>(draw.next() >> 32);
  std::vector<int> exponents(p.groups * p.n);
  for (int& exponent : exponents) exponent = least + static_cast<int>(draw.up_to(most - least));
  for (int exponent : exponents)
    p.scales.push_back(static_cast<uint16_t>((exponent + LEAST_SCALE + 15) << 10));
  if (!large) return exponents;
  for (int64_t row = 0; row < p.k; ++row)
    for (int64_t column = 0; column < p.n; ++column) {
      const int zero = zero_of(p, group_of(p, row) * p.n + column);
      const int code = std::clamp(zero + static_cast<int>(draw.up_to(2)) - 1, 0, 15);
      uint32_t& word = p.qweight[row / 8 * p.n + column];
      word ^= static_cast<uint32_t>(code_of(p, row, column) ^ code) << (row % 8 * 4);
    }
  return exponents;
}

inline problem drawn_problem(uint64_t seed) {
  problem p;
  generator draw(seed);
  p.name = "seed-" + std::to_string(seed);
  draw_sizes(p, draw);
  draw_groups(p, draw);
  const std::vector<int> exponents = draw_weights(p, draw);
  std::vector<int> integers(p.x_elements());
  for (int& integer : integers) integer = static_cast<int>(draw.up_to(2 * MOST_X)) - MOST_X;
  for (int integer : integers) p.x.push_back(half_of_integer(integer));
  for (int64_t row = 0; row < p.m; ++row)
    for (int64_t column = 0; column < p.n; ++column) {
      int64_t steps = 0;
      for (int64_t i = 0; i < p.k; ++i) {
        const int64_t place = group_of(p, i) * p.n + column;
        const int64_t x = integers[p.x_offset + row * p.x_stride + i];
        steps += x * (code_of(p, i, column) - zero_of(p, place)) * (int64_t{1} << exponents[place]);
      }
      p.low.push_back(half_of_steps(steps));
    }
  p.high = p.low;
  return p;
}

}  // namespace exllama::test

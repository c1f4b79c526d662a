// float16 by its definition: integers times a power of two, rounded to the nearest, ties to even.
#pragma once

#include <cmath>
#include <cstdint>

namespace exllama::test {

constexpr int UNIT = 24;  // every half is an integer times 2^-24

__extension__ typedef __int128 wide;

constexpr bool is_nan_half(uint32_t bits) { return (bits & 0x7fff) > 0x7c00; }
constexpr bool is_finite_half(uint32_t bits) { return (bits & 0x7c00) != 0x7c00; }

// A finite half in units of 2^-24.
inline int64_t units_of(uint32_t bits) {
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const int64_t magnitude = exponent ? int64_t{1024 + mantissa} << (exponent - 1) : mantissa;
  return bits & 0x8000 ? -magnitude : magnitude;
}

inline double value_of(uint32_t bits) {
  if (is_nan_half(bits)) return NAN;
  if (!is_finite_half(bits)) return bits & 0x8000 ? -INFINITY : INFINITY;
  const double magnitude = std::ldexp(static_cast<double>(units_of(bits & 0x7fff)), -UNIT);
  return bits & 0x8000 ? -magnitude : magnitude;
}

// The half nearest to count * 2^-unit; the sign of a zero is left out.
inline uint32_t nearest_half(wide count, int unit) {
  const uint32_t sign = count < 0 ? 0x8000 : 0;
  const wide magnitude = count < 0 ? -count : count;
  int top = -1;
  while (magnitude >> (top + 1) != 0) ++top;
  const int exponent = top - unit > -14 ? top - unit : -14;
  const int shift = exponent - 10 + unit;
  wide steps = shift > 0 ? magnitude >> shift : magnitude << -shift;
  if (shift > 0) {
    const wide rest = magnitude - (steps << shift), half = wide{1} << (shift - 1);
    if (rest > half || (rest == half && steps % 2 != 0)) ++steps;
  }
  const wide field = (wide{exponent + 14} << 10) + steps;
  return sign | static_cast<uint32_t>(field < 0x7c00 ? field : 0x7c00);
}

// Equal, with all NaN as one and both zeros as one.
inline bool same_half(uint32_t one, uint32_t other) {
  if (is_nan_half(one) || is_nan_half(other)) return is_nan_half(one) && is_nan_half(other);
  return one == other || ((one | other) & 0x7fff) == 0;
}

// Operations on halves where one of them is not finite: only which kind of result it is matters.
inline uint32_t half_of_kind(double value) {
  if (std::isnan(value)) return 0x7fff;
  if (std::isinf(value)) return value < 0 ? 0xfc00 : 0x7c00;
  return nearest_half(static_cast<wide>(std::ldexp(value, UNIT)), UNIT);
}

inline uint32_t difference(uint32_t a, uint32_t b) {
  if (!is_finite_half(a) || !is_finite_half(b)) return half_of_kind(value_of(a) - value_of(b));
  return nearest_half(wide{units_of(a)} - units_of(b), UNIT);
}

inline uint32_t product(uint32_t a, uint32_t b) {
  if (!is_finite_half(a) || !is_finite_half(b)) return half_of_kind(value_of(a) * value_of(b));
  return nearest_half(wide{units_of(a)} * units_of(b), 2 * UNIT);
}

inline uint32_t product_plus(uint32_t a, uint32_t b, uint32_t c) {
  if (!is_finite_half(a) || !is_finite_half(b) || !is_finite_half(c))
    return half_of_kind(value_of(a) * value_of(b) + value_of(c));
  const wide addend = wide{units_of(c)} * (wide{1} << UNIT);
  return nearest_half(wide{units_of(a)} * units_of(b) + addend, 2 * UNIT);
}

}  // namespace exllama::test

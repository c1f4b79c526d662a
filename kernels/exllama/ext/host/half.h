// float16 on a CPU: each operation is exact first and rounded once, to nearest even.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace exllama {

struct half {
  uint16_t bits;
};

struct half2 {
  half x, y;
};

namespace host {

constexpr uint16_t HALF_NAN = 0x7fff;  // what a GPU makes of any NaN
constexpr uint16_t HALF_INFINITY = 0x7c00;
constexpr int HALF_MANTISSA = 10;
constexpr int HALF_LEAST_EXPONENT = -14;  // of a normal number

template <class To, class From>
To bit_cast(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(To));
  return to;
}

// Integers up to 2^52 round to nearest even when 2^52 is added to them.
inline double nearest_even(double value) {
  constexpr double SHIFT = 4503599627370496.0;
  volatile double shifted = value + SHIFT;
  return shifted - SHIFT;
}

inline half round_to_half(double value) {
  if (std::isnan(value)) return {HALF_NAN};
  const auto bits = bit_cast<uint64_t>(value);
  const auto sign = static_cast<uint16_t>(bits >> 63 << 15);
  const double magnitude = std::fabs(value);
  if (magnitude >= 65520.0) return {static_cast<uint16_t>(sign | HALF_INFINITY)};
  const int own_exponent = static_cast<int>(bits >> 52 & 0x7ff) - 1023;
  const int exponent = own_exponent > HALF_LEAST_EXPONENT ? own_exponent : HALF_LEAST_EXPONENT;
  const double steps = nearest_even(std::ldexp(magnitude, HALF_MANTISSA - exponent));
  // A normal number has 1024 steps and more: they carry into the exponent by themselves.
  const int field = (exponent - HALF_LEAST_EXPONENT) << HALF_MANTISSA;
  return {static_cast<uint16_t>(sign | (field + static_cast<int>(steps)))};
}

inline float exact(half value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000) << 16;
  const uint32_t exponent = value.bits >> HALF_MANTISSA & 0x1f;
  const uint32_t mantissa = value.bits & 0x3ff;
  if (exponent == 0) {  // in integers: the CPU may be set to flush subnormal floats
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  const uint32_t wide = exponent == 0x1f ? 0xff : exponent + 112;
  return bit_cast<float>(sign | wide << 23 | mantissa << 13);
}

// a * b + c rounded once. The product is exact in double: 22 bits, the last one no less than 2^-48.
// A sum that is not has its first bit 53 places above the product's last, 31 above its first: then
// it is c and less than 2^-30 of it, and no tie of halves is as near to a half as that.
inline half fused(half a, half b, half c) {
  return round_to_half(static_cast<double>(exact(a)) * exact(b) + exact(c));
}

}  // namespace host

inline float __half2float(half value) { return host::exact(value); }
inline half __float2half_rn(float value) { return host::round_to_half(value); }

inline half __hsub(half a, half b) {
  return host::round_to_half(static_cast<double>(host::exact(a)) - host::exact(b));
}
inline half __hmul(half a, half b) {
  return host::round_to_half(static_cast<double>(host::exact(a)) * host::exact(b));
}

inline half2 __low2half2(half2 a) { return {a.x, a.x}; }
inline half2 __high2half2(half2 a) { return {a.y, a.y}; }

inline half2 __hsub2(half2 a, half2 b) { return {__hsub(a.x, b.x), __hsub(a.y, b.y)}; }
inline half2 __hmul2(half2 a, half2 b) { return {__hmul(a.x, b.x), __hmul(a.y, b.y)}; }
inline half2 __hfma2(half2 a, half2 b, half2 c) {
  return {host::fused(a.x, b.x, c.x), host::fused(a.y, b.y, c.y)};
}

}  // namespace exllama

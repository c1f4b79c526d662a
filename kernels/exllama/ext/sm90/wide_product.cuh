// wgmma: sums [64, ROWS] += a [64, 16] in registers times b [16, ROWS] in shared memory.
// ROWS here are rows of x, the columns of the instruction's result; KEEP: 0 begins new sums.
#pragma once

#include <cstdint>

namespace exllama::sm90 {

template <int ROWS>
struct wide_product;

// An instruction names each of a lane's ROWS / 2 sums: PLACES_n in its text, SUMS_n as operands.
#define SUMS_8(d, i) \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), \
      "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define SUMS_16(d, i) SUMS_8(d, i), SUMS_8(d, i + 8)
#define SUMS_32(d, i) SUMS_16(d, i), SUMS_16(d, i + 16)
#define SUMS_48(d, i) SUMS_32(d, i), SUMS_16(d, i + 32)
#define SUMS_64(d, i) SUMS_32(d, i), SUMS_32(d, i + 32)
#define SUMS_96(d, i) SUMS_64(d, i), SUMS_32(d, i + 64)
#define SUMS_128(d, i) SUMS_64(d, i), SUMS_64(d, i + 64)
#define PLACES_16 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define PLACES_32 \
  PLACES_16 \
  ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define PLACES_48 \
  PLACES_32 \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define PLACES_64 \
  PLACES_48 \
  ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define PLACES_96 \
  PLACES_64 \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79" \
  ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define PLACES_128 \
  PLACES_96 \
  ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111" \
  ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

#define WIDE_PRODUCT(ROWS, COUNT, A, B, KEEP)                                                      \
  template <>                                                                                      \
  struct wide_product<ROWS> {                                                                      \
    static __device__ __forceinline__ void add(float (&d)[COUNT], const uint32_t (&a)[4],          \
                                               uint64_t b, int keep) {                             \
      asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " KEEP ", 0;\n"                               \
                   "wgmma.mma_async.sync.aligned.m64n" #ROWS "k16.f32.f16.f16 "                     \
                   "{" PLACES_##COUNT "}, {" A "}, " B ", p, 1, 1, 0;\n}"                           \
                   : SUMS_##COUNT(d, 0)                                                            \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(keep));               \
    }                                                                                              \
  };

WIDE_PRODUCT(32, 16, "%16, %17, %18, %19", "%20", "%21")
WIDE_PRODUCT(64, 32, "%32, %33, %34, %35", "%36", "%37")
WIDE_PRODUCT(96, 48, "%48, %49, %50, %51", "%52", "%53")
WIDE_PRODUCT(128, 64, "%64, %65, %66, %67", "%68", "%69")
WIDE_PRODUCT(192, 96, "%96, %97, %98, %99", "%100", "%101")
WIDE_PRODUCT(256, 128, "%128, %129, %130, %131", "%132", "%133")

#undef WIDE_PRODUCT
#undef SUMS_8
#undef SUMS_16
#undef SUMS_32
#undef SUMS_48
#undef SUMS_64
#undef SUMS_96
#undef SUMS_128
#undef PLACES_16
#undef PLACES_32
#undef PLACES_48
#undef PLACES_64
#undef PLACES_96
#undef PLACES_128

}  // namespace exllama::sm90

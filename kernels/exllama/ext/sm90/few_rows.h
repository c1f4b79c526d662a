// What is asked of few_rows_kernel, and which versions of it there are.
#pragma once

#include <vector>

#include "units.h"

namespace exllama::sm90 {

constexpr int FEW_WARPS = 8;
constexpr int FEW_STAGES = 2;          // of a warp's ring
constexpr int FEW_UNITS_OF_STAGE = 2;  // one copy
constexpr int FEW_PARTS = 8;           // of K, for a tile: warps of a cluster

struct few_rows_call {
  const uint8_t* weights;
  const half* x;  // in the order of the sorted rows; rows on 16 bytes
  half* out;
  int64_t k, n, x_stride;
  int rows, units;
  int rounds, rest;  // tiles of each team: so many, and one more in the first `rest`
  int x_pitch;       // halves from row to row in shared memory
};

struct few_rows_instance {
  int rows, cluster, sets, teams;
  int shared_bytes;  // without x
  void (*kernel)(few_rows_call);

  // 16 bytes more than whole rows of banks: 8 rows of x lie in different banks.
  int pitch(int units) const { return (units + cluster - 1) / cluster * UNIT_ROWS + 8; }
  int64_t shared(int units) const { return shared_bytes + int64_t{rows} * pitch(units) * 2; }
};

const std::vector<few_rows_instance>& few_rows_instances();

}  // namespace exllama::sm90

// The order of the rows of K, found on the CPU when a matrix is created.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "layout.h"

namespace exllama {

struct row_plan {
  std::vector<chunk> table;
  std::vector<int32_t> row_of;  // empty where the rows are in order already
};

// g_idx [k], values in [0, groups), or null: groups of k / groups rows each.
inline row_plan plan_rows(const int32_t* g_idx, int64_t k, int64_t groups) {
  row_plan plan;
  std::vector<int64_t> start(groups + 1, 0);  // sorted rows before each group
  for (int64_t row = 0; row < k; ++row) ++start[(g_idx ? g_idx[row] : row / (k / groups)) + 1];
  for (int64_t group = 0; group < groups; ++group) start[group + 1] += start[group];
  for (int64_t group = 0; group < groups; ++group)
    for (int64_t row = start[group]; row < start[group + 1]; row += CHUNK_ROWS) {
      const int64_t rows = std::min<int64_t>(CHUNK_ROWS, start[group + 1] - row);
      plan.table.push_back({static_cast<int32_t>(row),
                            static_cast<int32_t>(group << ROW_COUNT_BITS | rows)});
    }
  if (g_idx == nullptr || std::is_sorted(g_idx, g_idx + k)) return plan;
  plan.row_of.resize(k);
  for (int64_t row = 0; row < k; ++row)
    plan.row_of[start[g_idx[row]]++] = static_cast<int32_t>(row);
  return plan;
}

// Everything but the memory.
inline q4_matrix matrix_of(const row_plan& rows, int64_t k, int64_t n, int64_t groups) {
  q4_matrix matrix;
  matrix.k = k;
  matrix.n = n;
  matrix.groups = groups;
  matrix.chunks = static_cast<int64_t>(rows.table.size());
  matrix.column_blocks = (n + TILE_COLUMNS - 1) / TILE_COLUMNS;
  return matrix;
}

}  // namespace exllama

// What is asked of many_rows_kernel, and which versions of it there are.
#pragma once

#include <cuda.h>  // the tensor map; nothing of this library is linked

#include <vector>

#include "units.h"

namespace exllama::sm90 {

constexpr int GROUP_COLUMNS = 64;  // of a warpgroup
constexpr int GROUP_THREADS = 128;
constexpr int STEP_ROWS = 64;  // of K, that one box of x holds: 128 bytes, the swizzle's width

// How blocks share the K of a tile of the result.
enum class split : int {
  even,     // none does, but for tiles that are left over: those are cut evenly among all blocks
  cluster,  // the blocks of a cluster, by each other's shared memory
  memory,   // blocks that run at once, by memory
};

struct many_rows_call {
  const uint8_t* weights;
  half* out;
  float4* partial;
  uint64_t* flags;  // none holds `epoch` when the kernel starts
  uint64_t epoch;   // of this call; a flag that was waited for is 0 again
  int64_t n;
  int rows, units;
  int row_tiles;     // tiles along the rows of x
  int tiles;
  int blocks;         // split::even: that share the tiles
  int whole;         // tiles that each of them computes alone
  bool out_aligned;  // to 16 bytes
};

struct many_rows_instance {
  int rows, groups, sets;  // of x, of warps, of scales in a unit
  split how;
  int parts;  // of K
  int shared_bytes;
  void (*kernel)(const CUtensorMap, many_rows_call);

  int columns() const { return groups * GROUP_COLUMNS; }
};

const std::vector<many_rows_instance>& many_rows_instances();
void add_low_rows(std::vector<many_rows_instance>& all);   // up to 96 rows
void add_high_rows(std::vector<many_rows_instance>& all);  // 128 and more
void add_blocked(std::vector<many_rows_instance>& all);    // scales for each BLOCK_ROWS rows

}  // namespace exllama::sm90

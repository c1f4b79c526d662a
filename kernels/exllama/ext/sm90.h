// Products on GPUs of compute capability 9.0, by instructions that no other has: bulk copies with
// barriers, clusters of blocks, wgmma. The rest of the extension knows this header alone.
#pragma once

#include <string>
#include <vector>

#include "kernels.h"
#include "rows.h"
#include "sm90/units.h"

namespace exllama::sm90 {

constexpr int MOST_FEW_ROWS = 16;  // of x, that few_rows multiplies

// Which kernel computes a product, and how its work is cut.
struct plan {
  bool few = false;       // few_rows; else many_rows
  int instance = -1;      // which kernel of that kind
  int blocks = 0;         // of threads, in all
  int whole = 0;          // many_rows without split: whole tiles of each block, the rest is cut
  int64_t tiles = 0;      // many_rows: of the result
  int shared_bytes = 0;
  bool copies_x = false;  // into an order and to an alignment that the kernel can read
  int64_t workspace_bytes = 0;  // of partial sums
  int64_t flags = 0;            // by which blocks say that such sums are there
};

struct product {
  const unit_matrix* matrix;
  activations x;
  span<half> out;
  bool out_aligned;     // to 16 bytes
  void* workspace;      // of plan::workspace_bytes, aligned to 256 bytes
  uint64_t* flags;      // plan::flags of them; no other call that may run meanwhile has them
  span<half> copied_x;  // [rows, k], where the plan copies x; aligned to 16 bytes
};

// Whether weights are kept in units: on such a device, with groups that are whole blocks of rows.
bool serves(const row_plan& rows, int64_t k, int device);

// Everything but the memory.
unit_matrix matrix_of(const row_plan& rows, int64_t k, int64_t n);

// The group of each BLOCK_ROWS sorted rows.
std::vector<int32_t> groups_of_blocks(const row_plan& rows);

// qweight [K / 8, N], qzeros [G, N / 8], scales [G, N] -> `bytes` of `matrix`.
void arrange(const unit_matrix& matrix, span<const int32_t> groups, span<const uint32_t> qweight,
             span<const uint32_t> qzeros, span<const half> scales, span<uint8_t> bytes,
             stream_handle stream);

void multiply(const plan& chosen, const product& given, stream_handle stream);

// x [M, K] -> to [M, K], columns in the order of `row_of`, or as they are where that is null. Takes
// 2 K bytes of shared memory, and lets the next kernel begin while it runs.
const void* copy_kernel_address();
void copy_rows(const activations& x, span<const int32_t> row_of, int64_t k, span<half> to,
               stream_handle stream);

// -> dense [K, N], rows in the caller's order
void reconstruct(const unit_matrix& matrix, span<half> dense, stream_handle stream);

// The kernels and cuts that a product of so many rows can have, in words, the one that is taken
// first; and one of them by its number in that list.
std::vector<std::string> choices(const unit_matrix& matrix, int64_t rows, int device);
plan choice(const unit_matrix& matrix, int64_t rows, bool x_readable, int device, int64_t number);

}  // namespace exllama::sm90

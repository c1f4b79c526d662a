// On a CPU no matrix is kept in units: their kernels are built on instructions without twins.
#pragma once

#include "../sm90.h"

namespace exllama::sm90 {

bool serves(const row_plan&, int64_t, int) { return false; }
unit_matrix matrix_of(const row_plan&, int64_t, int64_t) { return {}; }
std::vector<int32_t> groups_of_blocks(const row_plan&) { return {}; }
void arrange(const unit_matrix&, span<const int32_t>, span<const uint32_t>,
                    span<const uint32_t>, span<const half>, span<uint8_t>, stream_handle) {}
std::vector<std::string> choices(const unit_matrix&, int64_t, int) { return {}; }
plan choice(const unit_matrix&, int64_t, bool, int, int64_t) { return {}; }
void multiply(const plan&, const product&, stream_handle) {}
void reconstruct(const unit_matrix&, span<half>, stream_handle) {}

}  // namespace exllama::sm90

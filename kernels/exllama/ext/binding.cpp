// The five functions of the ExLlama v1 extension, and every check of their operands. The only file
// that includes torch; nothing else here knows a tensor.
//
// For a GPU (sm_80 and newer) compile binding.cpp, plan.cpp and the .cu files; for a CPU binding.cpp,
// plan.cpp and host_build.cpp, -DEXLLAMA_HOST. Devices have CUDA's numbers; -1 is the CPU.
//
// set_tuning_params(matmul_recons_thd, matmul_fused_remap, matmul_no_half2)
//   matmul_recons_thd 0: weights are never reconstructed. n > 0: from n rows on they may be, and
//   are from RECONSTRUCTION_PAYS_FROM rows on. -n: from n rows on they are, whether it pays or not;
//   so -1 forces that path for every call, and 0 the other.
//   matmul_fused_remap: where g_idx is not in order, columns of x are looked up inside the kernel;
//   else a pass of its own sorts them into temp_state. Reconstruction needs neither.
//   matmul_no_half2: codes become weights through float32, not in pairs of halves. The weights are
//   the same: (q - z) * s rounded once to float16. Sums are float32 on every path.
// prepare_buffers(device, temp_state, temp_dq): float16 each; rows * K elements are needed of the
//   first by the pass above, K * N of the second by reconstruction, checked when they are.
// cleanup(): back to the state after import; handles given out so far are refused from then on.
//
// EXLLAMA_HOST_ORDER, EXLLAMA_HOST_THREADS and exllama_host_order(): see host/launch.h.
#include <ATen/TensorSubclassLikeUtils.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/GradMode.h>
#include <pybind11/stl.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/utils/pybind.h>

#include "registry.h"
#include "rows.h"

namespace exllama {

namespace {

constexpr int64_t MOST_CHOICES = 1024;  // that choose_product can name
constexpr auto DEVICE_KIND = ON_GPU ? c10::DeviceType::CUDA : c10::DeviceType::CPU;

c10::Device device_of(int number) {
  return {DEVICE_KIND, static_cast<c10::DeviceIndex>(ON_GPU ? number : -1)};
}

bool same_device(c10::Device one, c10::Device other) {
  return one.type() == other.type() && (!ON_GPU || one.index() == other.index());
}

void check_tensor(const char* name, const at::Tensor& tensor, c10::ScalarType dtype, int64_t rank,
                  c10::Device device) {
  TORCH_CHECK_TYPE(tensor.defined(), name, " must be a tensor, got None");
  TORCH_CHECK_TYPE(tensor.scalar_type() == dtype, name, " must be ", c10::toString(dtype),
                   ", got ", c10::toString(tensor.scalar_type()));
  TORCH_CHECK_VALUE(tensor.layout() == c10::kStrided && !tensor.is_neg(), name,
                    " must be strided and hold its values, got layout ", tensor.layout(),
                    tensor.is_neg() ? ", lazily negated" : "");
  TORCH_CHECK_VALUE(same_device(tensor.device(), device), name, " must be on ", device, ", got ",
                    tensor.device());
  TORCH_CHECK_VALUE(rank < 0 || tensor.dim() == rank, name, " must have ", rank,
                    " dimensions, got shape ", tensor.sizes());
  const auto address = reinterpret_cast<uintptr_t>(tensor.const_data_ptr());
  // Torch's zero tensors, fake and functional ones say that they are on the device.
  TORCH_CHECK_VALUE(address != 0 || tensor.numel() == 0, name, " must be in memory, it has none");
  TORCH_CHECK_VALUE(address % tensor.itemsize() == 0, name, " must be aligned to ",
                    tensor.itemsize(), " bytes, got address ", address);
}

void check_contiguous(const char* name, const at::Tensor& tensor) {
  TORCH_CHECK_VALUE(tensor.is_contiguous(), name, " must be contiguous, got shape ",
                    tensor.sizes(), " with strides ", tensor.strides());
}

template <class T>
span<const T> read_span(const at::Tensor& tensor) {
  return make_span(static_cast<const T*>(tensor.const_data_ptr()), tensor.numel());
}

template <class T>
span<T> write_span(const at::Tensor& tensor) {
  return make_span(static_cast<T*>(tensor.mutable_data_ptr()), tensor.numel());
}

void check_device(int number) {
  const std::string problem = device_problem(number);
  TORCH_CHECK_VALUE(problem.empty(), "device ", number, " cannot be used: ", problem);
}

void check_not_capturing(const char* what, int device) {
  TORCH_CHECK(!is_capturing(current_stream(device)), what,
              " cannot run while a CUDA graph is captured");
}

// qweight [K / 8, N], qzeros [G, N / 8], scales [G, N]
void check_weights(const at::Tensor& qweight, const at::Tensor& qzeros, const at::Tensor& scales,
                   c10::Device where) {
  check_tensor("qweight", qweight, at::kInt, 2, where);
  check_tensor("qzeros", qzeros, at::kInt, 2, where);
  check_tensor("scales", scales, at::kHalf, 2, where);
  check_contiguous("qweight", qweight);
  check_contiguous("qzeros", qzeros);
  check_contiguous("scales", scales);
  const int64_t words = qweight.size(0), n = qweight.size(1), groups = qzeros.size(0);
  constexpr int64_t MOST_WORDS = INT32_MAX / PACK_FACTOR;
  TORCH_CHECK_VALUE(words > 0 && words <= MOST_WORDS && n > 0 && n <= INT32_MAX &&
                        n % PACK_FACTOR == 0,
                    "qweight must have 1 to ", MOST_WORDS, " rows and a multiple of ", PACK_FACTOR,
                    " columns, got shape ", qweight.sizes());
  TORCH_CHECK_VALUE(groups > 0 && groups < MAX_GROUPS, "qzeros must have 1 to ", MAX_GROUPS - 1,
                    " rows, got shape ", qzeros.sizes());
  TORCH_CHECK_VALUE(qzeros.size(1) == n / PACK_FACTOR, "qzeros must have ", n / PACK_FACTOR,
                    " columns of words, as qweight has ", n, " columns, got shape ",
                    qzeros.sizes());
  TORCH_CHECK_VALUE(scales.size(1) == n, "scales must have ", n,
                    " columns, as qweight has, got shape ", scales.sizes());
  TORCH_CHECK_VALUE(scales.size(0) == groups,
                    "qzeros and scales must have a row for each group, got shapes ",
                    qzeros.sizes(), " and ", scales.sizes());
}

// [K] on the CPU; None and meta tensors stand for groups of equal size in order.
const int32_t* checked_g_idx(const std::optional<at::Tensor>& g_idx, int64_t k, int64_t groups) {
  if (!g_idx.has_value() || !g_idx->defined() || g_idx->is_meta()) {
    TORCH_CHECK_VALUE(k % groups == 0, "without g_idx all groups have the same size, but ", k,
                      " rows are no multiple of ", groups, " groups");
    return nullptr;
  }
  check_tensor("g_idx", *g_idx, at::kInt, 1, c10::DeviceType::CPU);
  check_contiguous("g_idx", *g_idx);
  TORCH_CHECK_VALUE(g_idx->size(0) == k, "g_idx must have ", k, " elements, got ", g_idx->size(0));
  const auto* values = static_cast<const int32_t*>(g_idx->const_data_ptr());
  for (int64_t row = 0; row < k; ++row)
    TORCH_CHECK_VALUE(values[row] >= 0 && values[row] < groups, "g_idx must lie in [0, ", groups,
                      "), got ", values[row], " for row ", row);
  return values;
}

template <class T>
span<const T> uploaded(const std::vector<T>& values, c10::Device where, stored_matrix& owner) {
  if (values.empty()) return {};
  const auto bytes = static_cast<int64_t>(values.size() * sizeof(T));
  const auto here = at::from_blob(const_cast<T*>(values.data()), {bytes}, at::kByte);
  const auto there = std::make_shared<at::Tensor>(here.to(where, at::kByte, false, true));
  owner.owned.push_back(there);
  return make_span(static_cast<const T*>(there->const_data_ptr()),
                   static_cast<int64_t>(values.size()));
}

span<uint32_t> allocated(int64_t words, c10::Device where, stored_matrix& owner) {
  const auto options = at::TensorOptions().device(where).dtype(at::kInt);
  const auto tensor = std::make_shared<at::Tensor>(at::empty({words}, options));
  owner.owned.push_back(tensor);
  return write_span<uint32_t>(*tensor);
}

void arrange_in_units(const row_plan& rows, const at::Tensor& qweight, const at::Tensor& qzeros,
                      const at::Tensor& scales, span<const int32_t> row_of, stored_matrix& entry,
                      stream_handle stream) {
  sm90::unit_matrix units = sm90::matrix_of(rows, entry.matrix.k, entry.matrix.n);
  units.row_of = row_of;
  const c10::Device where = qweight.device();
  const auto options = at::TensorOptions().device(where).dtype(at::kByte);
  const auto bytes = std::make_shared<at::Tensor>(
      at::empty({units.all_units() * units.unit_bytes()}, options));
  entry.owned.push_back(bytes);
  stored_matrix meanwhile{};  // what only the arranging needs
  const auto groups = uploaded(sm90::groups_of_blocks(rows), where, meanwhile);
  sm90::arrange(units, groups, read_span<uint32_t>(qweight), read_span<uint32_t>(qzeros),
                read_span<half>(scales), write_span<uint8_t>(*bytes), stream);
  units.bytes = write_span<uint8_t>(*bytes);
  entry.units = units;
  synchronize_stream(stream);
}

uintptr_t make_q4(const at::Tensor& qweight, const at::Tensor& qzeros, const at::Tensor& scales,
                  const std::optional<at::Tensor>& g_idx, int device) {
  check_device(device);
  const c10::Device where = device_of(device);
  check_weights(qweight, qzeros, scales, where);
  const int64_t k = qweight.size(0) * PACK_FACTOR, groups = qzeros.size(0);
  const row_plan rows = plan_rows(checked_g_idx(g_idx, k, groups), k, groups);
  const c10::DeviceGuard guard(where);
  check_not_capturing("make_q4", device);
  const stream_handle stream = current_stream(device);
  stored_matrix entry{matrix_of(rows, k, qweight.size(1), groups), device, {}};
  q4_matrix& matrix = entry.matrix;
  const auto row_of = uploaded(rows.row_of, where, entry);
  if (sm90::serves(rows, k, device)) {
    arrange_in_units(rows, qweight, qzeros, scales, row_of, entry, stream);
    return state().add(std::move(entry));
  }
  matrix.row_of = row_of;
  matrix.table = uploaded(rows.table, where, entry);
  const auto codes = allocated(matrix.code_words(), where, entry);
  const auto words = allocated(matrix.scale_words(), where, entry);
  rearrange_codes(matrix, read_span<uint32_t>(qweight), codes, stream);
  rearrange_scales(matrix, read_span<uint32_t>(qzeros), read_span<half>(scales), words, stream);
  matrix.codes = codes;
  matrix.scales = words;
  synchronize_stream(stream);  // other streams may use it, and the caller may free its tensors
  return state().add(std::move(entry));
}

void set_tuning_params(int matmul_recons_thd, bool matmul_fused_remap, bool matmul_no_half2) {
  state().chosen = {matmul_recons_thd, matmul_fused_remap, matmul_no_half2};
}

scratch scratch_of(const at::Tensor& tensor) {
  return {write_span<half>(tensor), tensor.const_data_ptr(), tensor.numel(),
          std::make_shared<at::Tensor>(tensor)};
}

void prepare_buffers(c10::Device device, const at::Tensor& temp_state, const at::Tensor& temp_dq) {
  TORCH_CHECK_VALUE(device.type() == DEVICE_KIND, "device must be of kind ", DEVICE_KIND,
                    ", got ", device);
  const int number = ON_GPU && device.has_index() ? device.index() : current_device();
  check_device(number);
  const c10::DeviceGuard guard(device_of(number));
  check_tensor("temp_state", temp_state, at::kHalf, -1, device_of(number));
  check_tensor("temp_dq", temp_dq, at::kHalf, -1, device_of(number));
  check_contiguous("temp_state", temp_state);
  check_contiguous("temp_dq", temp_dq);
  check_not_capturing("prepare_buffers", number);
  device_buffers& buffers = state().make_buffers(number);
  buffers.last_use.synchronize();  // nobody writes to the old ones any more
  buffers.temp_state = scratch_of(temp_state);
  buffers.temp_dq = scratch_of(temp_dq);
}

void cleanup() {
  const auto devices = state().devices();
  for (int device : devices) check_not_capturing("cleanup", device);
  for (int device : devices) {
    const c10::DeviceGuard guard(device_of(device));
    synchronize_device();  // nobody reads the matrices any more
    state().forget(device);
  }
  state().chosen = {};
  state().forced_plan = 0;
}

int64_t extent(const at::Tensor& matrix) {
  return (matrix.size(0) - 1) * matrix.stride(0) + matrix.size(1);
}

memory_range range_of(const at::Tensor& matrix) {
  return {matrix.const_data_ptr(), extent(matrix) * matrix.element_size()};
}

void check_apart(const char* one, memory_range a, const char* other, memory_range b) {
  TORCH_CHECK_VALUE(!overlap(a, b), one, " lies in the memory of ", other);
}

// x [M, K], rows as far apart as they like; out [M, N]
void check_operands(const at::Tensor& x, const at::Tensor& out, const q4_matrix& matrix,
                    c10::Device where) {
  check_tensor("x", x, at::kHalf, 2, where);
  check_tensor("out", out, at::kHalf, 2, where);
  TORCH_CHECK_VALUE(x.size(1) == matrix.k, "x must have ", matrix.k,
                    " columns, as the weights have rows, got shape ", x.sizes());
  TORCH_CHECK_VALUE(out.size(0) == x.size(0) && out.size(1) == matrix.n, "out must have shape [",
                    x.size(0), ", ", matrix.n, "], got ", out.sizes());
  bool apart = x.size(0) < 2 || x.stride(0) >= matrix.k;
  TORCH_CHECK_VALUE(x.size(0) == 0 || (x.stride(1) == 1 && apart),
                    "rows of x must be contiguous and apart, got shape ", x.sizes(),
                    " with strides ", x.strides());
  check_contiguous("out", out);
  TORCH_CHECK(!c10::GradMode::is_enabled() || !(x.requires_grad() || out.requires_grad()),
              "q4_matmul does not support automatic differentiation, but x or out requires grad");
}

// Rows of x, wherever they lie.
struct row_view {
  const void* data;
  int64_t rows, stride, k;

  memory_range range() const {
    return {data, rows == 0 ? 0 : ((rows - 1) * stride + k) * int64_t{sizeof(half)}};
  }
  activations values() const {
    const bool aligned = is_aligned(data) && stride * sizeof(half) % VECTOR_BYTES == 0;
    return {make_span(static_cast<const half*>(data), (rows - 1) * stride + k), rows, stride,
            aligned, {}};
  }
};

row_view rows_of(const at::Tensor& x, int64_t rows, int64_t k) {
  return {x.const_data_ptr(), rows, rows > 1 && x.dim() == 2 ? x.stride(0) : k, k};
}

// The buffer that a call uses. While a graph is captured the call gets memory of its own, which
// lives as long as the graph: a replay meets no other call there.
scratch claim(const char* name, int64_t elements, const scratch* prepared, bool capturing,
              const row_view& x, const at::Tensor& out) {
  if (elements == 0) return {};
  TORCH_CHECK_VALUE(prepared != nullptr && prepared->elements >= elements, name, " must have ",
                    elements, " elements for this call, prepare_buffers gave ",
                    prepared ? prepared->elements : 0);
  check_apart("x", x.range(), name, prepared->range());
  check_apart("out", range_of(out), name, prepared->range());
  return capturing ? scratch_of(at::empty({elements}, out.options())) : *prepared;
}

// Found once for each number of rows, and for x that copies can read or not.
const sm90::plan& sm90_plan_of(const stored_matrix& found, int64_t rows, bool x_readable) {
  constexpr size_t MOST_KEPT = 4096;
  const int64_t number = state().forced_plan;
  const int64_t key = (rows * 2 + x_readable) * MOST_CHOICES + number;
  const auto kept = found.plans.find(key);
  if (kept != found.plans.end()) return kept->second;
  if (found.plans.size() >= MOST_KEPT) found.plans.clear();
  return found.plans
      .emplace(key, sm90::choice(found.units, rows, x_readable, found.device, number))
      .first->second;
}

// From a negative number of rows on; else never, since here it does not pay.
bool reconstructs_units(int64_t rows) {
  const int64_t threshold = state().chosen.matmul_recons_thd;
  return threshold < 0 && rows >= -threshold;
}

// What of the buffers a call asks to be prepared, in elements.
struct buffer_needs {
  int64_t temp_state = 0, temp_dq = 0;
};

buffer_needs needs_in_units(const stored_matrix& found, const row_view& x) {
  if (reconstructs_units(x.rows)) return {0, x.k * found.matrix.n};
  const bool sorts = found.units.row_of && !state().chosen.matmul_fused_remap;
  return {sorts ? x.rows * x.k : 0, 0};
}

buffer_needs needs_of(const stored_matrix& found, const row_view& x) {
  if (found.in_units()) return needs_in_units(found, x);
  const plan chosen =
      make_plan(found.matrix, x.rows, state().chosen, shape_of_device(found.device));
  return {chosen.temp_state_elements, chosen.temp_dq_elements};
}

// Zeros, once for each stream: a kernel that waits for a flag puts it back.
uint64_t* flags_of_stream(int device, stream_handle stream, int64_t count) {
  constexpr int64_t USUAL = 1 << 14;
  stream_flags& flags = state().flags_of(device, stream);
  if (flags.count < count) {
    const int64_t made = std::max(count, USUAL);
    const auto options = at::TensorOptions().device(device_of(device)).dtype(at::kLong);
    const auto zeros = std::make_shared<at::Tensor>(at::zeros({made}, options));
    flags = {static_cast<uint64_t*>(zeros->mutable_data_ptr()), made, zeros};
  }
  return flags.values;
}

void multiply_in_units(const stored_matrix& found, const row_view& x, const at::Tensor& out) {
  const stream_handle stream = current_stream(found.device);
  const activations given = x.values();
  const bool reconstructs = reconstructs_units(x.rows);
  const sm90::plan chosen =
      reconstructs ? sm90::plan{} : sm90_plan_of(found, x.rows, given.aligned);
  const buffer_needs needs = needs_in_units(found, x);
  const bool uses_buffers = needs.temp_state > 0 || needs.temp_dq > 0;
  const bool capturing = (uses_buffers || chosen.flags > 0) && is_capturing(stream);
  device_buffers* const prepared = state().buffers_of(found.device);
  const scratch temp_state = claim("temp_state", needs.temp_state,
                                   prepared ? &prepared->temp_state : nullptr, capturing, x, out);
  const scratch temp_dq = claim("temp_dq", needs.temp_dq,
                                prepared ? &prepared->temp_dq : nullptr, capturing, x, out);
  const bool in_temp_state = temp_state.address != nullptr && is_aligned(temp_state.address);
  constexpr int64_t APART = 256;  // what follows the copy is as well aligned as torch's memory
  const int64_t copied = chosen.copies_x && !in_temp_state ? x.rows * x.k : 0;
  const int64_t copied_bytes = (copied * int64_t{sizeof(half)} + APART - 1) / APART * APART;
  // A captured call has flags of its own, like all its memory. What is in them before does not
  // matter: each call waits for another number.
  const int64_t flag_bytes = capturing ? chosen.flags * int64_t{sizeof(uint64_t)} : 0;
  const int64_t bytes = copied_bytes + flag_bytes + (reconstructs ? gemm_handle::WORKSPACE_BYTES
                                                                  : chosen.workspace_bytes);
  at::Tensor workspace;  // returned to torch at the end, which keeps it for this stream
  if (bytes > 0) workspace = at::empty({bytes}, out.options().dtype(at::kByte));
  auto* const room = bytes > 0 ? static_cast<uint8_t*>(workspace.mutable_data_ptr()) : nullptr;
  const bool shares = !capturing && uses_buffers;
  const event_turn turn(shares ? &prepared->last_use : nullptr, stream);
  if (reconstructs) {
    sm90::reconstruct(found.units, temp_dq.values, stream);
    prepared->library.run(stream, room, given.values, given.stride, temp_dq.values,
                          write_span<half>(out), x.rows, found.matrix.n, x.k);
    return;
  }
  sm90::product product;
  product.matrix = &found.units;
  product.x = given;
  product.out = write_span<half>(out);
  product.out_aligned = is_aligned(out.const_data_ptr());
  product.workspace = room + copied_bytes;
  product.flags = capturing
                      ? reinterpret_cast<uint64_t*>(room + bytes - flag_bytes)
                      : chosen.flags > 0 ? flags_of_stream(found.device, stream, chosen.flags)
                                         : nullptr;
  product.copied_x = in_temp_state ? temp_state.values
                                   : make_span(reinterpret_cast<half*>(room), copied);
  sm90::multiply(chosen, product, stream);
}

// In words, the one that is taken first; nothing where a matrix has one way alone.
std::vector<std::string> product_choices(uintptr_t w, int64_t rows) {
  const stored_matrix* found = state().find(w);
  TORCH_CHECK_VALUE(found != nullptr, "w must be a handle from make_q4 since cleanup, got ", w);
  TORCH_CHECK_VALUE(rows > 0, "rows must be positive, got ", rows);
  if (!found->in_units()) return {};
  return sm90::choices(found->units, rows, found->device);
}

void choose_product(int64_t number) {
  TORCH_CHECK_VALUE(number >= 0 && number < MOST_CHOICES, "number must lie in [0, ", MOST_CHOICES,
                    "), got ", number);
  state().forced_plan = number;
}

void multiply_in_chunks(const stored_matrix& found, const row_view& x, const at::Tensor& out) {
  const stream_handle stream = current_stream(found.device);
  const bool capturing = is_capturing(stream);
  const plan chosen =
      make_plan(found.matrix, x.rows, state().chosen, shape_of_device(found.device));
  device_buffers* const prepared = state().buffers_of(found.device);
  const scratch temp_state = claim("temp_state", chosen.temp_state_elements,
                                   prepared ? &prepared->temp_state : nullptr, capturing, x, out);
  const scratch temp_dq = claim("temp_dq", chosen.temp_dq_elements,
                                prepared ? &prepared->temp_dq : nullptr, capturing, x, out);
  at::Tensor workspace;  // returned to torch at the end, which keeps it for this stream
  if (chosen.workspace_bytes > 0)
    workspace = at::empty({chosen.workspace_bytes}, out.options().dtype(at::kByte));
  call given;
  given.x = x.values().values;
  given.rows = x.rows;
  given.x_stride = x.stride;
  given.x_aligned = is_aligned(x.data);
  given.out = write_span<half>(out);
  given.temp_state = temp_state.values;
  given.temp_state_aligned = is_aligned(temp_state.address);
  given.temp_dq = temp_dq.values;
  given.temp_dq_aligned = is_aligned(temp_dq.address);
  given.workspace = workspace.defined() ? workspace.mutable_data_ptr() : nullptr;
  const bool shares = !capturing && (temp_state.owned || temp_dq.owned);
  const event_turn turn(shares ? &prepared->last_use : nullptr, stream);
  run(chosen, found.matrix, state().chosen, given, prepared ? &prepared->library : nullptr, stream);
}

void multiply_now(const stored_matrix& found, const row_view& x, const at::Tensor& out) {
  if (found.in_units()) multiply_in_units(found, x, out);
  else multiply_in_chunks(found, x, out);
}

void q4_matmul(const at::Tensor& x, uintptr_t w, const at::Tensor& out) {
  const stored_matrix* found = state().find(w);
  TORCH_CHECK_VALUE(found != nullptr, "w must be a handle from make_q4 since cleanup, got ", w);
  check_operands(x, out, found->matrix, device_of(found->device));
  if (x.size(0) == 0) return;
  check_apart("out", range_of(out), "x", range_of(x));
  const c10::DeviceGuard guard(x.device());
  multiply_now(*found, rows_of(x, x.size(0), found->matrix.k), out);
  if (!out.is_inference()) out.unsafeGetTensorImpl()->bump_version();
}

source source_of(const at::Tensor& tensor) {
  return {tensor.unsafeGetTensorImpl(), tensor.const_data_ptr(),
          tensor.is_inference() ? -1 : static_cast<int64_t>(tensor._version()),
          tensor.sizes().vec(), tensor.strides().vec()};
}

// The tensors that handle w was made of. The caller keeps them alive as long as it asks for
// products of w.
void watch(uintptr_t w, const std::vector<at::Tensor>& weights) {
  stored_matrix* found = state().find(w);
  TORCH_CHECK_VALUE(found != nullptr, "w must be a handle from make_q4 since cleanup, got ", w);
  found->sources.clear();
  for (const at::Tensor& tensor : weights) found->sources.push_back(source_of(tensor));
}

bool is_unchanged(const stored_matrix& found, const std::vector<at::Tensor>& weights) {
  if (weights.size() != found.sources.size()) return false;
  for (size_t i = 0; i < weights.size(); ++i)
    if (!(source_of(weights[i]) == found.sources[i])) return false;
  return !weights.empty();
}

// Whether x is a plain tensor of values that q4_matmul takes: [..., K] with rows that need no copy.
bool is_plain(const at::Tensor& x, int64_t k, c10::Device where) {
  if (!x.defined() || at::isTensorSubclassLike(x)) return false;
  if (x.scalar_type() != at::kHalf || x.layout() != c10::kStrided || x.is_neg() ||
      x._is_zerotensor() || !same_device(x.device(), where))
    return false;
  if (x.dim() == 0 || x.size(-1) != k || x.numel() == 0) return false;
  if (c10::GradMode::is_enabled() && x.requires_grad()) return false;
  if (at::autocast::is_autocast_enabled(x.device().type())) return false;
  const bool rows_apart = x.dim() == 2 && x.stride(1) == 1 && x.stride(0) >= k;
  return (x.is_contiguous() || rows_apart) &&
         reinterpret_cast<uintptr_t>(x.const_data_ptr()) % sizeof(half) == 0;
}

// x [..., K] times the weights behind handle w -> [..., N], where nothing has to be looked at twice:
// w and `weights`, those that it was made of, are unchanged, x is plain, buffers are large enough.
// Else None.
std::optional<at::Tensor> product(const at::Tensor& x, uintptr_t w,
                                  const std::vector<at::Tensor>& weights) {
  const stored_matrix* found = state().find(w);
  if (found == nullptr || !is_unchanged(*found, weights)) return std::nullopt;
  const int64_t k = found->matrix.k;
  if (!is_plain(x, k, device_of(found->device))) return std::nullopt;
  const row_view rows = rows_of(x, x.numel() / k, k);
  const buffer_needs needs = needs_of(*found, rows);
  if (needs.temp_state > 0 || needs.temp_dq > 0) {
    const device_buffers* const prepared = state().buffers_of(found->device);
    if (prepared == nullptr || prepared->temp_state.elements < needs.temp_state ||
        prepared->temp_dq.elements < needs.temp_dq)
      return std::nullopt;
  }
  const c10::DeviceGuard guard(x.device());
  auto sizes = x.sizes().vec();
  sizes.back() = found->matrix.n;
  const at::Tensor out = at::empty(sizes, x.options());
  multiply_now(*found, rows, out);
  return out;
}

}  // namespace
}  // namespace exllama

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  using torch::wrap_pybind_function;
  m.def("set_tuning_params", wrap_pybind_function(&exllama::set_tuning_params));
  m.def("prepare_buffers", wrap_pybind_function(&exllama::prepare_buffers));
  m.def("cleanup", wrap_pybind_function(&exllama::cleanup));
  m.def("make_q4", wrap_pybind_function(&exllama::make_q4));
  m.def("q4_matmul", wrap_pybind_function(&exllama::q4_matmul));
  // For layers: q4_matmul without what it cost to look at everything anew in Python.
  m.def("watch", wrap_pybind_function(&exllama::watch));
  m.def("product", wrap_pybind_function(&exllama::product));
  // For tests and measurements: the kernels that a product can be made by, and which it is; a
  // number past the end of the list begins anew.
  m.def("product_choices", wrap_pybind_function(&exllama::product_choices));
  m.def("choose_product", wrap_pybind_function(&exllama::choose_product));
}

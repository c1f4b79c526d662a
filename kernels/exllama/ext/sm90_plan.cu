// Which kernel computes a product in units, how it is cut, and its launch.
#include <algorithm>
#include <atomic>
#include <map>
#include <random>

#include "sm90/few_rows.h"
#include "sm90/many_rows.h"
#include "sm90.h"

namespace exllama::sm90 {

namespace {

constexpr int CAPABILITY = 9;
constexpr int ONE_RESIDENT = 116 * 1024;  // more than half of what a multiprocessor has

// What of a device decides plans. Kernels have been told there how much shared memory they may use.
struct device_facts {
  bool usable = false;
  int multiprocessors = 0, shared_bytes = 0;
  int clusters_of_2 = 0, clusters_of_4 = 0;  // that run at once

  int clusters(int size) const { return size == 2 ? clusters_of_2 : clusters_of_4; }
};

template <class Kernel>
const void* address_of(Kernel kernel) {
  return reinterpret_cast<const void*>(kernel);
}

struct launch_options {
  cudaLaunchConfig_t config{};
  cudaLaunchAttribute attributes[2];

  launch_options(int blocks, int threads, int shared, stream_handle stream) {
    config.gridDim = dim3(blocks);
    config.blockDim = dim3(threads);
    config.dynamicSmemBytes = shared;
    config.stream = stream;
    config.attrs = attributes;
  }
  void clusters_of(int size) {
    attributes[config.numAttrs].id = cudaLaunchAttributeClusterDimension;
    attributes[config.numAttrs++].val.clusterDim = {static_cast<unsigned>(size), 1, 1};
  }
  // While the kernel before it runs, if that allows it.
  void begins_early() {
    attributes[config.numAttrs].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[config.numAttrs++].val.programmaticStreamSerializationAllowed = 1;
  }
  void all_at_once() {
    attributes[config.numAttrs].id = cudaLaunchAttributeCooperative;
    attributes[config.numAttrs++].val.cooperative = 1;
  }
};

int clusters_at_once(const few_rows_instance& one) {
  launch_options options(one.cluster, FEW_WARPS * LANES, ONE_RESIDENT, nullptr);
  options.clusters_of(one.cluster);
  int most = 0;
  check_cuda(cudaOccupancyMaxActiveClusters(&most, address_of(one.kernel), &options.config),
             "cudaOccupancyMaxActiveClusters");
  return most;
}

// Binaries for other architectures, and PTX for any, hold these kernels without bodies.
bool is_whole(const void* kernel) {
  constexpr int OF_NO_BODY = 32;  // registers, that none of these kernels makes do with
  cudaFuncAttributes attributes;
  if (cudaFuncGetAttributes(&attributes, kernel) != cudaSuccess) {
    cudaGetLastError();
    return false;
  }
  return attributes.ptxVersion == CAPABILITY * 10 && attributes.numRegs > OF_NO_BODY;
}

device_facts look_at(int device) {
  device_facts facts;
  if (attribute_of(device, cudaDevAttrComputeCapabilityMajor) != CAPABILITY) return facts;
  int before = current_device();
  check_cuda(cudaSetDevice(device), "cudaSetDevice");
  facts.multiprocessors = attribute_of(device, cudaDevAttrMultiProcessorCount);
  facts.shared_bytes = attribute_of(device, cudaDevAttrMaxSharedMemoryPerBlockOptin);
  facts.usable = is_whole(address_of(few_rows_instances()[0].kernel));
  if (facts.usable) {
    const auto may_use = [&](const void* kernel) {
      check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      facts.shared_bytes),
                 "cudaFuncSetAttribute");
    };
    for (const auto& one : few_rows_instances()) {
      may_use(address_of(one.kernel));
      int& most = one.cluster == 2 ? facts.clusters_of_2 : facts.clusters_of_4;
      if (most == 0) most = clusters_at_once(one);
    }
    for (const auto& one : many_rows_instances()) may_use(address_of(one.kernel));
    may_use(copy_kernel_address());
  }
  check_cuda(cudaSetDevice(before), "cudaSetDevice");
  return facts;
}

// Python's lock guards it, as all that lives between calls.
const device_facts& facts_of(int device) {
  static auto* const known = new std::map<int, device_facts>;
  auto found = known->find(device);
  if (found == known->end()) found = known->emplace(device, look_at(device)).first;
  return found->second;
}

int64_t parts_of(int64_t whole, int64_t part) { return (whole + part - 1) / part; }

// Microseconds on an H200, fitted to five layers and 1 to 1024 rows; only the order of the sums
// matters, and between kinds of kernels these agree within a tenth with what was measured.
double cost_of_unit(const many_rows_instance& one) {
  const bool wide = one.groups == 4, split_up = one.parts > 1;
  if (one.rows == 32) return wide ? 0.73 : split_up ? 0.36 : 0.41;
  if (one.rows == 64) return wide ? 1.095 : split_up ? 0.46 : 0.52;
  if (one.rows == 96) return 0.62;
  if (one.rows == 128) return 0.75;
  return one.rows == 192 ? 1.04 : 1.33;
}

// Of starting, of the exchange or of cutting tiles, and of the end.
double cost_around(const many_rows_instance& one, bool cut) {
  if (one.how == split::cluster) return 4.4 + 0.005 * one.rows;
  if (one.how == split::memory) return 4.4 + 0.0137 * one.rows;
  return cut ? 5.5 + 0.035 * one.rows * one.groups / 2 : 4.3;
}

constexpr double COST_OF_WAVE = 3.5;  // each after the first

double cost_of_few(int rows, double units_of_warp) {
  return 3 + 0.09 * rows + units_of_warp * (0.5 + 0.004 * rows);
}

struct candidate {
  plan chosen;
  double cost;
};

// One block for each place, a wave after the other; or tiles that are left over cut evenly.
void add_many(std::vector<candidate>& all, const unit_matrix& matrix, int64_t rows,
              const device_facts& device, int instance) {
  const many_rows_instance& one = many_rows_instances()[instance];
  if (one.sets != matrix.sets || one.parts > matrix.units) return;
  const int64_t tiles = parts_of(rows, one.rows) * parts_of(matrix.n, one.columns());
  if (tiles >= INT32_MAX / 4) return;
  plan chosen;
  chosen.instance = instance;
  chosen.tiles = tiles;
  chosen.shared_bytes = one.shared_bytes;
  const int64_t sums = int64_t{one.rows} * one.columns() * 4;
  const auto add = [&](int64_t blocks, int64_t whole, int64_t pieces, int64_t flags, double waves,
                       double units) {
    chosen.blocks = static_cast<int>(blocks);
    chosen.whole = static_cast<int>(whole);
    chosen.workspace_bytes = pieces * sums;
    chosen.flags = flags;
    const bool cut = one.how == split::even && pieces > 0;
    all.push_back({chosen, cost_around(one, cut) + (waves - 1) * COST_OF_WAVE +
                               units * cost_of_unit(one)});
  };
  const int places = device.multiprocessors;
  const double units = double(parts_of(matrix.units, one.parts));
  if (one.how == split::cluster) {
    const double waves = double(parts_of(tiles, device.clusters(one.parts)));
    add(tiles * one.parts, 0, 0, 0, waves, waves * units);
  } else if (one.how == split::memory) {
    if (tiles * one.parts > places) return;  // they wait for each other: all have to run
    add(tiles * one.parts, 0, tiles * one.parts, tiles * one.parts * one.parts * one.groups, 1,
        units);
  } else {
    const double waves = double(parts_of(tiles, places));
    add(tiles, 1, 0, 0, waves, waves * units);
    const int64_t blocks = std::min<int64_t>(places, tiles * matrix.units);
    const int64_t whole = std::max<int64_t>(0, tiles / blocks - 1);  // the rest is one or two each
    if (tiles % blocks != 0)
      add(blocks, whole, blocks, blocks * one.groups, 1, double(tiles) * matrix.units / blocks);
  }
}

void add_few(std::vector<candidate>& all, const unit_matrix& matrix, int64_t rows,
             const device_facts& device, int instance) {
  const few_rows_instance& one = few_rows_instances()[instance];
  const bool too_small = one.rows < rows, too_large = one.rows >= 2 * rows && one.rows > 1;
  if (one.sets != matrix.sets || too_small || too_large) return;
  plan chosen;
  chosen.few = true;
  chosen.instance = instance;
  const int64_t shared = one.shared(matrix.units);
  if (shared > device.shared_bytes) return;
  chosen.shared_bytes = static_cast<int>(std::max<int64_t>(shared, ONE_RESIDENT));
  const int64_t tiles = parts_of(matrix.n, TILE_WIDTH);
  const int64_t clusters =
      std::min<int64_t>(device.clusters(one.cluster), parts_of(tiles, one.teams));
  chosen.tiles = tiles;
  chosen.blocks = static_cast<int>(clusters * one.cluster);
  const double rounds = double(parts_of(tiles, clusters * one.teams));
  all.push_back({chosen, cost_of_few(one.rows, rounds * matrix.units / FEW_PARTS)});
}

std::vector<candidate> candidates(const unit_matrix& matrix, int64_t rows, int device) {
  const device_facts& facts = facts_of(device);
  std::vector<candidate> all;
  if (rows <= MOST_FEW_ROWS)
    for (size_t i = 0; i < few_rows_instances().size(); ++i)
      add_few(all, matrix, rows, facts, static_cast<int>(i));
  for (size_t i = 0; i < many_rows_instances().size(); ++i)
    add_many(all, matrix, rows, facts, static_cast<int>(i));
  std::stable_sort(all.begin(), all.end(),
                   [](const candidate& a, const candidate& b) { return a.cost < b.cost; });
  return all;
}

// Not twice the same while a process lives, and not what memory holds by chance.
uint64_t next_epoch() {
  static std::atomic<uint64_t> last{[] {
    std::random_device source;
    return uint64_t{source()} << 32 | source();
  }()};
  uint64_t epoch = ++last;
  return epoch == 0 ? ++last : epoch;
}

using encoder = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*,
                             const cuuint64_t*, const cuuint64_t*, const cuuint32_t*,
                             const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle,
                             CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

encoder map_encoder() {
  static const encoder found = [] {
    void* address = nullptr;
    cudaDriverEntryPointQueryResult how;
    check_cuda(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &address, 12000,
                                                cudaEnableDefault, &how),
               "cuTensorMapEncodeTiled");
    if (address == nullptr) throw std::runtime_error("the driver has no cuTensorMapEncodeTiled");
    return reinterpret_cast<encoder>(address);
  }();
  return found;
}

// Boxes of `box_rows` rows and STEP_ROWS columns of x [rows, k].
CUtensorMap map_of(const activations& x, int64_t k, int box_rows) {
  CUtensorMap map;
  const int64_t stride = x.rows > 1 ? x.stride : k;  // of one row it may be anything
  const cuuint64_t sizes[2] = {static_cast<cuuint64_t>(k), static_cast<cuuint64_t>(x.rows)};
  const cuuint64_t strides[1] = {static_cast<cuuint64_t>(stride) * sizeof(half)};
  const cuuint32_t box[2] = {STEP_ROWS, static_cast<cuuint32_t>(box_rows)}, steps[2] = {1, 1};
  const CUresult status = map_encoder()(
      &map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 2, const_cast<half*>(x.values), sizes, strides, box,
      steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
      CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS)
    throw std::runtime_error("cuTensorMapEncodeTiled: error " + std::to_string(status));
  return map;
}

template <class... Arguments>
void start(const char* name, const void* kernel, const launch_options& options,
           Arguments... arguments) {
  void* addresses[] = {static_cast<void*>(&arguments)...};
  check_cuda(cudaLaunchKernelExC(&options.config, kernel, addresses), name);
}

void run_few(const plan& chosen, const product& given, const activations& x,
             stream_handle stream) {
  const few_rows_instance& one = few_rows_instances()[chosen.instance];
  const unit_matrix& matrix = *given.matrix;
  const int teams = chosen.blocks / one.cluster * one.teams;
  few_rows_call call{};
  call.weights = matrix.bytes;
  call.x = x.values;
  call.out = given.out;
  call.k = matrix.k;
  call.n = matrix.n;
  call.x_stride = x.stride;
  call.rows = static_cast<int>(x.rows);
  call.units = matrix.units;
  call.rounds = static_cast<int>(chosen.tiles / teams);
  call.rest = static_cast<int>(chosen.tiles % teams);
  call.x_pitch = one.pitch(matrix.units);
  launch_options options(chosen.blocks, FEW_WARPS * LANES, chosen.shared_bytes, stream);
  options.clusters_of(one.cluster);
  if (chosen.copies_x) options.begins_early();
  start("kernel few_rows", address_of(one.kernel), options, call);
}

void run_many(const plan& chosen, const product& given, const activations& x,
              stream_handle stream) {
  const many_rows_instance& one = many_rows_instances()[chosen.instance];
  const unit_matrix& matrix = *given.matrix;
  many_rows_call call{};
  call.weights = matrix.bytes;
  call.out = given.out;
  call.partial = static_cast<float4*>(given.workspace);
  call.flags = given.flags;
  call.epoch = next_epoch();
  call.n = matrix.n;
  call.rows = static_cast<int>(x.rows);
  call.units = matrix.units;
  call.row_tiles = static_cast<int>(parts_of(x.rows, one.rows));
  call.tiles = static_cast<int>(chosen.tiles);
  call.blocks = chosen.blocks;
  call.whole = chosen.whole;
  call.out_aligned = given.out_aligned;
  launch_options options(chosen.blocks, one.groups * GROUP_THREADS + GROUP_THREADS,
                         chosen.shared_bytes, stream);
  if (one.how == split::cluster) options.clusters_of(one.parts);
  if (one.how == split::memory) options.all_at_once();
  else if (chosen.copies_x) options.begins_early();
  start("kernel many_rows", address_of(one.kernel), options, map_of(x, matrix.k, one.rows), call);
}

std::string words_for(const plan& chosen) {
  if (chosen.few) {
    const few_rows_instance& one = few_rows_instances()[chosen.instance];
    return "few_rows, " + std::to_string(one.rows) + " rows, clusters of " +
           std::to_string(one.cluster) + ", " + std::to_string(chosen.blocks) + " blocks";
  }
  const many_rows_instance& one = many_rows_instances()[chosen.instance];
  const char* how = one.how == split::cluster  ? ", K split in clusters of "
                    : one.how == split::memory ? ", K split by memory in "
                                               : ", K whole or cut into ";
  return "many_rows, " + std::to_string(one.rows) + " x " + std::to_string(one.columns()) + how +
         std::to_string(one.parts) + ", " + std::to_string(chosen.blocks) + " blocks, " +
         std::to_string(chosen.whole) + " whole tiles each";
}

}  // namespace

const std::vector<many_rows_instance>& many_rows_instances() {
  static const std::vector<many_rows_instance> all = [] {
    std::vector<many_rows_instance> made;
    add_low_rows(made);
    add_high_rows(made);
    add_blocked(made);
    return made;
  }();
  return all;
}

bool serves(const row_plan& rows, int64_t k, int device) {
  const device_facts& facts = facts_of(device);
  if (!facts.usable || k * int64_t{sizeof(half)} > facts.shared_bytes) return false;  // copy_rows
  return k % BLOCK_ROWS == 0 &&
         std::all_of(rows.table.begin(), rows.table.end(),
                     [](const chunk& one) { return one.rows() == BLOCK_ROWS; });
}

unit_matrix matrix_of(const row_plan& rows, int64_t k, int64_t n) {
  unit_matrix matrix;
  matrix.k = k;
  matrix.n = n;
  matrix.units = static_cast<int>(parts_of(k, UNIT_ROWS));
  matrix.tiles = static_cast<int>(parts_of(n, TILE_WIDTH * SLAB_TILES) * SLAB_TILES);
  const auto groups = groups_of_blocks(rows);
  constexpr size_t BLOCKS = UNIT_ROWS / BLOCK_ROWS;
  bool whole = groups.size() % BLOCKS == 0;
  for (size_t i = 0; whole && i < groups.size(); ++i)
    whole = groups[i] == groups[i / BLOCKS * BLOCKS];
  matrix.sets = whole ? 1 : BLOCKS;
  return matrix;
}

std::vector<int32_t> groups_of_blocks(const row_plan& rows) {
  std::vector<int32_t> groups;
  groups.reserve(rows.table.size());
  for (const chunk& one : rows.table) groups.push_back(one.group());
  return groups;
}

plan choice(const unit_matrix& matrix, int64_t rows, bool x_readable, int device, int64_t number) {
  const auto all = candidates(matrix, rows, device);
  plan chosen = all[number % all.size()].chosen;
  chosen.copies_x = matrix.row_of || !x_readable;
  return chosen;
}

std::vector<std::string> choices(const unit_matrix& matrix, int64_t rows, int device) {
  std::vector<std::string> words;
  for (const auto& one : candidates(matrix, rows, device)) words.push_back(words_for(one.chosen));
  return words;
}

void multiply(const plan& chosen, const product& given, stream_handle stream) {
  activations x = given.x;
  if (chosen.copies_x) {
    copy_rows(x, given.matrix->row_of, given.matrix->k, given.copied_x, stream);
    x = {given.copied_x, x.rows, given.matrix->k, true, {}};
  }
  if (chosen.few) run_few(chosen, given, x, stream);
  else run_many(chosen, given, x, stream);
}

}  // namespace exllama::sm90

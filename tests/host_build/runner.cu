// The kernels without torch: problems of a file, or drawn ones for a while, or a fault on purpose.
#include <chrono>
#include <cstdio>
#include <iostream>

#include "array.h"
#include "plan.h"
#include "problem.h"
#include "rows.h"

namespace exllama::test {

namespace {

constexpr uint16_t UNWRITTEN = 0xfdfd;  // a NaN that no kernel makes

std::vector<half> halves(const std::vector<uint16_t>& bits) {
  std::vector<half> values(bits.size());
  if (!bits.empty()) std::memcpy(static_cast<void*>(values.data()), bits.data(), 2 * bits.size());
  return values;
}

std::vector<uint16_t> bits_of(const std::vector<half>& values) {
  std::vector<uint16_t> bits(values.size());
  std::memcpy(bits.data(), static_cast<const void*>(values.data()), 2 * bits.size());
  return bits;
}

bool is_aligned(const void* address) {
  return reinterpret_cast<uintptr_t>(address) % VECTOR_BYTES == 0;
}

// A matrix and its memory, as make_q4 makes it.
struct owned_matrix {
  explicit owned_matrix(const problem& p)
      : rows(plan_rows(p.g_idx.empty() ? nullptr : p.g_idx.data(), p.k, p.groups)),
        matrix(matrix_of(rows, p.k, p.n, p.groups)),
        table(rows.table),
        row_of(rows.row_of),
        codes(matrix.code_words()),
        scales(matrix.scale_words()) {
    array<uint32_t> qweight(p.qweight), qzeros(p.qzeros);
    array<half> given_scales(halves(p.scales));
    matrix.table = table.view();
    if (!rows.row_of.empty()) matrix.row_of = row_of.view();
    rearrange_codes(matrix, qweight.view(), codes.view(), stream_handle{});
    rearrange_scales(matrix, qzeros.view(), given_scales.view(), scales.view(), stream_handle{});
    matrix.codes = codes.view();
    matrix.scales = scales.view();
    synchronize_stream(stream_handle{});
  }

  row_plan rows;
  q4_matrix matrix;
  array<chunk> table;
  array<int32_t> row_of;
  array<uint32_t> codes, scales;
};

std::vector<uint16_t> results(const problem& p) {
  choose_order(p.order, p.order_seed);
  owned_matrix weights(p);
  if (p.m == 0) return {};  // as q4_matmul does
  gemm_handle library;
  const tuning how{p.recons_thd, p.fused_remap, p.no_half2};
  const plan chosen = make_plan(weights.matrix, p.m, how, shape_of_device(current_device()));
  array<half> x(halves(p.x)), out(halves(std::vector<uint16_t>(p.m * p.n, UNWRITTEN)));
  array<half> temp_state(halves(std::vector<uint16_t>(chosen.temp_state_elements, UNWRITTEN)));
  array<half> temp_dq(halves(std::vector<uint16_t>(chosen.temp_dq_elements, UNWRITTEN)));
  array<float> workspace(std::vector<float>(chosen.workspace_bytes / int64_t{sizeof(float)}, NAN));
  call given;
  given.x = x.view() + p.x_offset;
  given.rows = p.m;
  given.x_stride = p.x_stride;
  given.x_aligned = is_aligned(x.address() + p.x_offset);
  given.out = out.view();
  given.temp_state = temp_state.view();
  given.temp_state_aligned = is_aligned(temp_state.address());
  given.temp_dq = temp_dq.view();
  given.temp_dq_aligned = is_aligned(temp_dq.address());
  given.workspace = const_cast<float*>(workspace.address());
  run(chosen, weights.matrix, how, given, &library, stream_handle{});
  synchronize_stream(stream_handle{});
  return bits_of(out.read());
}

// Whether every result is right; prints which is not.
bool check(const problem& p) {
  std::vector<uint16_t> found;
  try {
    found = results(p);
  } catch (const std::exception& error) {
    std::printf("RAISED %s: %s\n", p.name.c_str(), error.what());
    return false;
  }
  for (int64_t i = 0; i < p.m * p.n; ++i) {
    if (is_right(found[i], p.low[i], p.high[i])) continue;
    std::printf("WRONG %s: out[%lld, %lld] is 0x%04x, wanted 0x%04x to 0x%04x\n", p.name.c_str(),
                static_cast<long long>(i / p.n), static_cast<long long>(i % p.n), found[i],
                p.low[i], p.high[i]);
    return false;
  }
  return true;
}

int check_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  std::string line;
  if (!std::getline(file, line) || line != FIRST_LINE)
    throw std::runtime_error(std::string(path) + " must begin with: " + FIRST_LINE);
  int64_t count = 0, wrong = 0;
  while (std::getline(file, line)) {
    wrong += !check(read_problem(line, file));
    ++count;
  }
  std::printf("%lld problems, %lld wrong\n", static_cast<long long>(count),
              static_cast<long long>(wrong));
  return count == 0 || wrong > 0;
}

int fuzz(double seconds, uint64_t seed) {
  using clock = std::chrono::steady_clock;
  const auto start = clock::now();
  int64_t count = 0, wrong = 0;
  do {
    wrong += !check(drawn_problem(seed + count++));
  } while (wrong == 0 && std::chrono::duration<double>(clock::now() - start).count() < seconds);
  std::printf("%lld drawn problems from seed %llu, %lld wrong\n", static_cast<long long>(count),
              static_cast<unsigned long long>(seed), static_cast<long long>(wrong));
  return wrong > 0;
}

// One element past the end: seen by the span, or where the span is bypassed by a sanitizer.
__global__ void span_fault(span<half> values, int64_t count) {
  if (threadIdx.x == 7) values[count] = half{};
}

__global__ void heap_fault(half* values, int64_t count) {
  __syncthreads();  // from a stack of the launch's making
  if (threadIdx.x == 7) values[count] = half{};
}

int fault(const std::string& kind) {
  constexpr int64_t COUNT = 64;
  array<half> memory(COUNT);
  if (kind == "span") launch("span_fault", span_fault, {1}, LANES, {}, memory.view(), COUNT);
  if (kind == "heap")
    launch("heap_fault", heap_fault, {1}, LANES, {}, const_cast<half*>(memory.address()), COUNT);
  synchronize_stream(stream_handle{});
  std::printf("nothing was seen of the fault\n");
  return 0;
}

int command(const std::vector<std::string>& words) {
  if (words.size() == 2 && words[0] == "check") return check_file(words[1].c_str());
  if (words.size() == 3 && words[0] == "fuzz")
    return fuzz(std::stod(words[1]), std::stoull(words[2]));
  if (words.size() == 2 && words[0] == "fault") return fault(words[1]);
  std::fprintf(stderr, "runner check FILE | fuzz SECONDS SEED | fault span|heap\n");
  return 4;
}

}  // namespace
}  // namespace exllama::test

int main(int count, char** words) {
  try {
    return exllama::test::command({words + 1, words + count});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 4;
  }
}

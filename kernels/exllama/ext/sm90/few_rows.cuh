// x of up to 16 rows times weights in units: what a server does for each token that it generates.
//
// Memory is the limit, so the weights never wait for anything else. A tile of 32 columns belongs to
// a team of warps in a cluster of blocks, each of which has a share of K; a cluster goes from tile
// to tile. Each warp has a ring of its own in shared memory, filled by bulk copies that its first
// lane asks for as soon as a stage has been read. x is asked for before the first weights: behind
// them it would come microseconds late. Operands are q - z, exact in halves, sums are float32 and
// are scaled group by group. At the end of a tile each warp sends its sums to the warps that own
// them, which add up in the order of K and store, one tile later.
#pragma once

#include "codes.cuh"
#include "few_rows.h"

namespace exllama::sm90 {

namespace {

constexpr int WARPS = FEW_WARPS;
constexpr int STAGES = FEW_STAGES;
constexpr int UNITS_OF_STAGE = FEW_UNITS_OF_STAGE;
constexpr int FRAGMENTS = TILE_WIDTH / 16;
constexpr uint32_t ALL_LANES = 0xffffffff;

template <int ROWS, int CLUSTER, int SETS>
struct shape {
  static constexpr int BLOCKS_OF_ROWS = ROWS > 8 ? 2 : 1;  // of 8 rows each
  static constexpr int PARTS = FEW_PARTS;                 // of K
  static constexpr int WARPS_K = PARTS / CLUSTER;         // of a block, that share a tile
  static constexpr int TEAMS = WARPS / WARPS_K;           // tiles at once
  static constexpr int SUMS = FRAGMENTS * BLOCKS_OF_ROWS * 4;  // of a lane
  static constexpr int OWNED = SUMS / PARTS;              // sums of a lane that a warp adds up
  static constexpr int STAGE_BYTES = UNITS_OF_STAGE * UNIT_BYTES<SETS>;
  static constexpr int SENT_BYTES = SUMS * LANES * 4;     // to one warp, for one tile
  static_assert(OWNED * PARTS == SUMS);
};

// What a lane reads of one unit: places in shared memory.
template <int TILES>
struct unit_view {
  uint32_t words, scales;
  uint32_t x[TILES];
  bool present;  // else x is 0 there and the weights are another unit's
};

// The sums of a stage: `sums` += x times the weights.
template <int SETS, int TILES>
__device__ __forceinline__ void multiply_stage(const unit_view<TILES> (&units)[UNITS_OF_STAGE],
                                               float (&sums)[FRAGMENTS][TILES][4]) {
  constexpr int STEPS = 8 / SETS;  // of 16 rows, that share scales
  uint4 words[UNITS_OF_STAGE][FRAGMENTS][2];
#pragma unroll
  for (int u = 0; u < UNITS_OF_STAGE; ++u)
#pragma unroll
    for (int f = 0; f < FRAGMENTS; ++f)
#pragma unroll
      for (int h = 0; h < 2; ++h)
        words[u][f][h] = shared_words4(units[u].words + f * FRAGMENT_BYTES + h * HALF_BYTES);
#pragma unroll
  for (int set = 0; set < SETS; ++set) {
    uint4 scales[UNITS_OF_STAGE];
    float part[UNITS_OF_STAGE][FRAGMENTS][TILES][4] = {};
#pragma unroll
    for (int u = 0; u < UNITS_OF_STAGE; ++u)
      scales[u] = shared_words4(units[u].scales + set * SCALE_BYTES);
#pragma unroll
    for (int pair = 0; pair < STEPS / 2; ++pair)
#pragma unroll
      for (int u = 0; u < UNITS_OF_STAGE; ++u) {
        uint4 rows[TILES];
#pragma unroll
        for (int tile = 0; tile < TILES; ++tile)
          rows[tile] = load_matrices(units[u].x[tile] + (set * STEPS / 2 + pair) * 64);
#pragma unroll
        for (int s = 0; s < 2; ++s) {
          const int step = set * STEPS + pair * 2 + s;
#pragma unroll
          for (int f = 0; f < FRAGMENTS; ++f) {
            const uint4& four = words[u][f][step / 4];
            const uint32_t word = step % 4 == 0   ? four.x
                                  : step % 4 == 1 ? four.y
                                  : step % 4 == 2 ? four.z
                                                  : four.w;
            const column_scales columns(f == 0 ? make_uint2(scales[u].x, scales[u].y)
                                               : make_uint2(scales[u].z, scales[u].w));
            uint32_t numbers[4];
            numbers_of_codes<false>(word, columns, numbers);
#pragma unroll
            for (int tile = 0; tile < TILES; ++tile) {
              const uint32_t pairs[2] = {s == 0 ? rows[tile].x : rows[tile].z,
                                         s == 0 ? rows[tile].y : rows[tile].w};
              mma_16x8x16(part[u][f][tile], numbers, pairs);
            }
          }
        }
      }
#pragma unroll
    for (int u = 0; u < UNITS_OF_STAGE; ++u)
#pragma unroll
      for (int f = 0; f < FRAGMENTS; ++f) {
        const column_scales columns(f == 0 ? make_uint2(scales[u].x, scales[u].y)
                                           : make_uint2(scales[u].z, scales[u].w));
        const float factors[2] = {units[u].present ? columns.factor(0) : 0.0f,
                                  units[u].present ? columns.factor(1) : 0.0f};
#pragma unroll
        for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
          for (int i = 0; i < 4; ++i)
            sums[f][tile][i] = fmaf(factors[i / 2], part[u][f][tile][i], sums[f][tile][i]);
      }
  }
}

template <int ROWS, int CLUSTER, int SETS>
__global__ void __launch_bounds__(WARPS* LANES, 1)
    few_rows_kernel(const __grid_constant__ few_rows_call p) {
#ifdef EXLLAMA_SM90
  using S = shape<ROWS, CLUSTER, SETS>;
  constexpr int WARPS_K = S::WARPS_K, TEAMS = S::TEAMS, TILES = S::BLOCKS_OF_ROWS;
  extern __shared__ __align__(128) uint8_t shared[];
  const int warp = __shfl_sync(ALL_LANES, threadIdx.x / LANES, 0), lane = threadIdx.x % LANES;
  const int rank = blockIdx.x % CLUSTER, cluster = blockIdx.x / CLUSTER;
  const int clusters = gridDim.x / CLUSTER;
  const int share = warp % WARPS_K, team = warp / WARPS_K, part = rank * WARPS_K + share;
  // This warp's units of K, and where those of its block begin.
  const int block_first = p.units * rank / CLUSTER;
  const int first = p.units * part / S::PARTS, last = p.units * (part + 1) / S::PARTS;
  const int units = last - first, stages = (units + UNITS_OF_STAGE - 1) / UNITS_OF_STAGE;

  const uint32_t base = shared_address(shared);
  const uint32_t ring = base + warp * STAGES * S::STAGE_BYTES;
  const uint32_t received = base + WARPS * STAGES * S::STAGE_BYTES;  // [WARPS, 2, SENT_BYTES]
  const uint32_t barriers = received + WARPS * 2 * S::SENT_BYTES;
  const uint32_t full = barriers + warp * STAGES * 8;
  const uint32_t arrived = barriers + WARPS * STAGES * 8;  // [WARPS, 2]
  const uint32_t x_ready = arrived + WARPS * 2 * 8;        // [WARPS_K]
  const uint32_t zeros = x_ready + WARPS * 8;  // a unit of x
  const uint32_t x = zeros + UNIT_ROWS * 2;
  const int pitch = p.x_pitch;  // halves

  if (threadIdx.x < UNIT_ROWS / 2) store_shared(zeros + threadIdx.x * 4, 0);
  if (lane == 0) {
    if (team == 0) barrier_init(x_ready + share * 8, 1);
#pragma unroll
    for (int slot = 0; slot < STAGES; ++slot) barrier_init(full + slot * 8, 1);
#pragma unroll
    for (int parity = 0; parity < 2; ++parity) barrier_init(arrived + (warp * 2 + parity) * 8, 1);
  }
  barriers_are_initialised();
  __syncwarp();
  if (team == 0) {  // each warp asks for the rows of K that it multiplies first
    wait_for_kernel_before();  // which may be the copy of x; nothing is written before x is here
    const int begin = first * UNIT_ROWS, end = last * UNIT_ROWS;
    const int there = max(0, min(end, static_cast<int>(p.k)) - begin);
    const uint32_t to = x + (begin - block_first * UNIT_ROWS) * 2;
    if (lane == 0) arrive_expecting(x_ready + share * 8, there * 2 * p.rows);
    __syncwarp();
    if (lane < p.rows && there > 0)
      bulk_copy(to + lane * pitch * 2, p.x + lane * p.x_stride + begin, there * 2,
                x_ready + share * 8);
    for (int row = 0; row < p.rows; ++row)  // what lies past K
      for (int i = there / 2 + lane; i < (end - begin) / 2; i += LANES)
        store_shared(to + row * pitch * 2 + i * 4, 0);
  }

  const int first_tile = cluster + clusters * team, tile_step = clusters * TEAMS;
  const int rounds = p.rounds + (first_tile < p.rest ? 1 : 0);
  const uint8_t* source = p.weights + (int64_t{first_tile} * p.units + first) * UNIT_BYTES<SETS>;
  const int64_t jump = (int64_t{tile_step} * p.units - units) * UNIT_BYTES<SETS>;
  int asked = 0, left = rounds * stages;  // stages: asked for of this tile, to be asked for in all
  auto ask = [&](int slot) {
    const int bytes = min(UNITS_OF_STAGE, units - asked * UNITS_OF_STAGE) * UNIT_BYTES<SETS>;
    if (lane == 0) {
      arrive_expecting(full + slot * 8, bytes);
      bulk_copy(ring + slot * S::STAGE_BYTES, source, bytes, full + slot * 8);
    }
    source += bytes;
    if (++asked == stages) asked = 0, source += jump;
    --left;
  };
#pragma unroll
  for (int slot = 0; slot < STAGES; ++slot)
    if (left > 0) ask(slot);
  __syncwarp();
  __syncthreads();
  cluster_arrive_relaxed();
  wait(x_ready + share * 8, 0);
  cluster_wait();

  // A lane names a row of 8 halves of x for ldmatrix; rows that there are not are others again.
  uint32_t rows[TILES];
#pragma unroll
  for (int tile = 0; tile < TILES; ++tile)
    rows[tile] = x + ((tile * 8 + lane % (ROWS < 8 ? ROWS : 8)) * pitch + lane / 8 * 8 +
                      (first - block_first) * UNIT_ROWS) * 2;

  // Sums of tile number `round` to their owners; of the tile before from those that sent them.
  auto send = [&](int round, float (&sums)[FRAGMENTS][TILES][4]) {
    const int parity = round % 2;
    if (lane == 0) arrive_expecting(arrived + (warp * 2 + parity) * 8, S::SENT_BYTES);
#pragma unroll
    for (int owner = 0; owner < S::PARTS; ++owner) {
      float v[S::OWNED];
#pragma unroll
      for (int i = 0; i < S::OWNED; ++i) {
        const int sum = owner * S::OWNED + i;
        v[i] = sums[sum / 4 / TILES][sum / 4 % TILES][sum % 4];
      }
      const int there = (team * WARPS_K + owner % WARPS_K) * 2 + parity;
      const uint32_t to = received + there * S::SENT_BYTES + (part * LANES + lane) * S::OWNED * 4;
      store_counted<S::OWNED>(in_block(to, owner / WARPS_K), v,
                              in_block(arrived + there * 8, owner / WARPS_K));
    }
  };
  auto receive = [&](int round) {
    const int mine = warp * 2 + round % 2;
    wait_for_cluster(arrived + mine * 8, round / 2 % 2);
    const int tile = first_tile + round * tile_step;
#pragma unroll
    for (int i = 0; i < S::OWNED; ++i) {
      float v = 0;
#pragma unroll
      for (int sender = 0; sender < S::PARTS; ++sender)
        v += shared_float(received + mine * S::SENT_BYTES +
                          ((sender * LANES + lane) * S::OWNED + i) * 4);
      const int sum = part * S::OWNED + i;
      const int64_t column = int64_t{tile} * TILE_WIDTH + sum / 4 / TILES * 16 + sum % 4 / 2 * 8 + lane / 4;
      const int row = sum / 4 % TILES * 8 + lane % 4 * 2 + sum % 2;
      if (row < p.rows && column < p.n) p.out[int64_t{row} * p.n + column] = __float2half_rn(v);
    }
  };

  int slot = 0;
  uint32_t phase = 0;
  for (int round = 0; round < rounds; ++round) {
    float sums[FRAGMENTS][TILES][4] = {};
    for (int stage = 0; stage < stages; ++stage) {
      unit_view<TILES> views[UNITS_OF_STAGE];
#pragma unroll
      for (int u = 0; u < UNITS_OF_STAGE; ++u) {
        const int unit = stage * UNITS_OF_STAGE + u;
        views[u].present = u == 0 || unit < units;
        const int there = views[u].present ? u : 0;
        const uint32_t from = ring + slot * S::STAGE_BYTES + there * UNIT_BYTES<SETS>;
        views[u].words = from + lane * 16;
        views[u].scales = from + CODE_BYTES + lane / 4 * 16;
#pragma unroll
        for (int tile = 0; tile < TILES; ++tile)
          views[u].x[tile] = views[u].present ? rows[tile] + unit * UNIT_ROWS * 2 : zeros;
      }
      wait(full + slot * 8, phase);
      multiply_stage<SETS, TILES>(views, sums);
      __syncwarp();  // all have read the stage
      if (left > 0) ask(slot);
      if (++slot == STAGES) slot = 0, phase ^= 1;
    }
    if (round > 0) receive(round - 1);
    send(round, sums);
  }
  if (rounds > 0) receive(rounds - 1);
#endif
}

template <int ROWS, int CLUSTER, int SETS>
few_rows_instance instance() {
  using S = shape<ROWS, CLUSTER, SETS>;
  return {ROWS, CLUSTER, SETS, S::TEAMS,
          WARPS * STAGES * S::STAGE_BYTES + WARPS * 2 * S::SENT_BYTES + WARPS * (STAGES + 3) * 8 +
              UNIT_ROWS * 2,
          few_rows_kernel<ROWS, CLUSTER, SETS>};
}

}  // namespace

}  // namespace exllama::sm90

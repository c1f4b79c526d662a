// x of any number of rows times weights in units, by wgmma: weights are the operand in registers,
// x the one in shared memory.
//
// A block has warpgroups that multiply, 64 columns each, a warp that fetches x (boxes of a tensor
// map, swizzled as wgmma reads them) and one that fetches weights. Each fills a ring of stages and
// waits only where a stage has not been given back. A stage of weights is given back after products
// were issued that need all of its words, not once its loads were: they may still be under way, and
// the next copy would overtake them, in less than one run of a hundred.
#pragma once

#include "codes.cuh"
#include "many_rows.h"
#include "wide_product.cuh"

namespace exllama::sm90 {

namespace {

template <int ROWS, int GROUPS, int SETS, split HOW, int PARTS>
struct many_shape {
  static constexpr int THREADS = GROUPS * GROUP_THREADS;  // that multiply
  static constexpr int COLUMNS = GROUPS * GROUP_COLUMNS;
  static constexpr int TILES = COLUMNS / TILE_WIDTH;  // of weights
  static constexpr int X_BYTES = ROWS * STEP_ROWS * 2;
  static constexpr int WEIGHT_BYTES = TILES * UNIT_BYTES<SETS>;
  static constexpr int STORE_BYTES = GROUPS * 8192;
  static constexpr int ROOM = 227 * 1024 - 1024 - STORE_BYTES - 512;
  static constexpr int EXCHANGE_BYTES = HOW == split::cluster ? ROWS * COLUMNS * 4 : 0;
  static constexpr int least(int a, int b) { return a < b ? a : b; }
  // Two boxes of x go with a unit of weights; half a megabyte in flight is no better than this.
  static constexpr int X_STAGES = least(16, ROOM * 6 / 10 / X_BYTES > 4 ? ROOM * 6 / 10 / X_BYTES : 5);
  static constexpr int W_STAGES = least(10, (ROOM - X_STAGES * X_BYTES) / WEIGHT_BYTES);
  static_assert(W_STAGES >= 3 && EXCHANGE_BYTES <= X_STAGES * X_BYTES);
  static constexpr int X = 0, W = X_STAGES * X_BYTES;
  static constexpr int STORE = W + W_STAGES * WEIGHT_BYTES, BARRIERS = STORE + STORE_BYTES;
  static constexpr int SHARED = 1024 + BARRIERS + 16 * (X_STAGES + W_STAGES);
  static_assert(SHARED <= 227 * 1024);
};

// The tiles, and the units of each, that a block computes: whole tiles first, then its even share
// of the units that are left over.
struct walk {
  int turn = 0, whole, blocks, block;
  uint32_t units, next_unit, last_unit;  // of what is left over: less than units * blocks

  __device__ walk(const many_rows_call& p, int block_)
      : whole(p.whole), blocks(p.blocks), block(block_), units(p.units) {
    const int64_t left = int64_t{p.tiles - whole * blocks} * units;
    next_unit = static_cast<uint32_t>(left * block / blocks);
    last_unit = static_cast<uint32_t>(left * (block + 1) / blocks);
  }

  __device__ bool next(int& tile, int& first, int& last) {
    if (turn < whole) {
      tile = block + turn++ * blocks;
      first = 0, last = units;
      return true;
    }
    if (next_unit >= last_unit) return false;
    const uint32_t number = next_unit / units;
    first = next_unit - number * units;
    last = min(units, first + last_unit - next_unit);
    tile = whole * blocks + number;
    next_unit += last - first;
    return true;
  }
};

// The compiler must not move what uses these above the wait for the products that make them.
template <int COUNT>
__device__ __forceinline__ void pin(float (&values)[COUNT]) {
#pragma unroll
  for (int i = 0; i < COUNT; ++i) asm volatile("" : "+f"(values[i])::"memory");
}

__device__ __forceinline__ uint32_t pair_of(float low, float high) {
  const half2 both = __floats2half2_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&both);
}

// A row-major [ROWS, 64] operand with 128-byte swizzle, K contiguous: its descriptor but for the
// address. See "Matrix descriptor" of wgmma in the PTX manual.
constexpr uint64_t SWIZZLED = uint64_t{1} << 62 | uint64_t{64} << 32 | uint64_t{1} << 16;
constexpr uint32_t ADDRESS_IN_BLOCK = 0x3ffff;  // in a cluster the rank lies above

template <int ROWS, int GROUPS, int SETS, split HOW, int PARTS>
struct multiplier {
  using S = many_shape<ROWS, GROUPS, SETS, HOW, PARTS>;
  // Scales go onto sums of a unit where these are few, else into the weights.
  static constexpr bool ON_SUMS = SETS == 1 && ROWS <= (GROUPS == 2 ? 96 : 32);
  static constexpr bool TWO_PARTS = GROUPS == 2 && ROWS <= 64;
  static constexpr int ROW_BLOCKS = ROWS / 8;

  const many_rows_call& p;
  uint32_t base;  // of shared memory
  int thread, lane, warp, group;
  int x_slot = 0, w_slot = 0, x_given = 0, w_given = 0;
  uint32_t x_phase = 0, w_phase = 0;
  uint4 codes[2];  // of 64 rows each
  uint2 scales[SETS];
  float sums[ROWS / 2];

  __device__ __forceinline__ uint32_t x_full(int slot) const {
    return base + S::BARRIERS + slot * 8;
  }
  __device__ __forceinline__ uint32_t x_empty(int slot) const {
    return x_full(S::X_STAGES + slot);
  }
  __device__ __forceinline__ uint32_t w_full(int slot) const {
    return x_full(2 * S::X_STAGES + slot);
  }
  __device__ __forceinline__ uint32_t w_empty(int slot) const {
    return x_full(2 * S::X_STAGES + S::W_STAGES + slot);
  }

  __device__ __forceinline__ void group_barrier() const { named_barrier(group + 1, GROUP_THREADS); }

  __device__ __forceinline__ void load_weights() {
    wait(w_full(w_slot), w_phase);
    const int in_group = warp % 4;  // 16 columns each
    const uint32_t unit = base + S::W + w_slot * S::WEIGHT_BYTES +
                          (group * 2 + in_group / 2) * UNIT_BYTES<SETS>;
    const uint32_t fragment = unit + in_group % 2 * FRAGMENT_BYTES + lane * 16;
    codes[0] = shared_words4(fragment);
    codes[1] = shared_words4(fragment + HALF_BYTES);
#pragma unroll
    for (int set = 0; set < SETS; ++set)
      scales[set] = shared_words2(unit + CODE_BYTES + set * SCALE_BYTES + lane / 4 * 16 +
                                  in_group % 2 * 8);
    if (++w_slot == S::W_STAGES) w_slot = 0, w_phase ^= 1;
  }

  __device__ __forceinline__ void give_weights_back() {
    if (lane == 0) arrive(w_empty(w_given));
    if (++w_given == S::W_STAGES) w_given = 0;
  }

  __device__ __forceinline__ uint64_t next_x() {
    wait(x_full(x_slot), x_phase);
    const uint32_t address = base + S::X + x_slot * S::X_BYTES;
    if (++x_slot == S::X_STAGES) x_slot = 0, x_phase ^= 1;
    return SWIZZLED | (address & ADDRESS_IN_BLOCK) >> 4;
  }

  __device__ __forceinline__ void give_x_back() {
    if (lane == 0) arrive(x_empty(x_given));
    if (++x_given == S::X_STAGES) x_given = 0;
  }

  // Numbers of half a unit: 4 steps of 16 rows.
  __device__ __forceinline__ void dequantize(int half_unit, uint32_t (&a)[4][4]) {
    uint32_t words[4] = {codes[half_unit].x, codes[half_unit].y, codes[half_unit].z,
                         codes[half_unit].w};
#pragma unroll
    for (int i = 0; i < 4; ++i) asm volatile("" : "+r"(words[i])::"memory");
#pragma unroll
    for (int i = 0; i < 4; ++i)
      numbers_of_codes<!ON_SUMS>(
          words[i], column_scales(scales[SETS == 1 ? 0 : half_unit * 2 + i / 2]), a[i]);
  }

  __device__ __forceinline__ void products(float (&to)[ROWS / 2], const uint32_t (&a)[4][4],
                                           uint64_t x, bool keep) {
#pragma unroll
    for (int i = 0; i < 4; ++i) wide_product<ROWS>::add(to, a[i], x + 2 * i, keep || i > 0);
  }

  // Units [first, last) of a tile into `sums`, half a unit multiplied while the next half becomes
  // numbers.
  __device__ __forceinline__ void multiply_overlapped(int first, int last) {
    uint32_t a[4][4], b[4][4];
    load_weights();
    dequantize(0, a);
    for (int unit = first; unit < last; ++unit) {
      const uint64_t x = next_x();
      products_fence();
      products(sums, a, x, unit > first);
      products_commit();
      if (unit > first) products_wait<1>(), give_x_back();
      dequantize(1, b);
      const uint64_t y = next_x();
      products_fence();
      products(sums, b, y, true);
      products_commit();
      give_weights_back();
      const bool more = unit + 1 < last;
      if (more) load_weights();
      products_wait<1>();
      give_x_back();
      if (more) dequantize(0, a);
    }
    products_wait<0>();
    give_x_back();
  }

  // The same with registers for one half only.
  __device__ __forceinline__ void multiply_in_halves(int first, int last) {
    uint32_t a[4][4];
    load_weights();
    for (int unit = first; unit < last; ++unit) {
#pragma unroll
      for (int half_unit = 0; half_unit < 2; ++half_unit) {
        dequantize(half_unit, a);
        const uint64_t x = next_x();
        products_fence();
        products(sums, a, x, half_unit > 0 || unit > first);
        products_commit();
        if (half_unit == 1) give_weights_back();
        products_wait<0>();
        give_x_back();
        if (half_unit == 1 && unit + 1 < last) load_weights();
      }
    }
  }

  // A whole unit at once.
  __device__ __forceinline__ void multiply_in_units(int first, int last) {
    uint32_t a[4][4], b[4][4];
    load_weights();
    dequantize(0, a);
    dequantize(1, b);
    for (int unit = first; unit < last; ++unit) {
      const uint64_t x = next_x(), y = next_x();
      products_fence();
      products(sums, a, x, unit > first);
      products(sums, b, y, true);
      products_commit();
      give_weights_back();
      if (unit + 1 < last) load_weights();
      products_wait<0>();
      give_x_back();
      give_x_back();
      if (unit + 1 < last) {
        dequantize(0, a);
        dequantize(1, b);
      }
    }
  }

  __device__ __forceinline__ void add_scaled(const float (&part)[ROWS / 2], float low, float high) {
#pragma unroll
    for (int i = 0; i < ROWS / 2; ++i) sums[i] = fmaf(part[i], i % 4 < 2 ? low : high, sums[i]);
  }

  // One unit into `part`; meanwhile what the unit before left in `other` is scaled, where there
  // are registers for two.
  __device__ __forceinline__ void scaled_unit(float (&part)[ROWS / 2], float (&other)[ROWS / 2],
                                              uint32_t (&a)[4][4], uint32_t (&b)[4][4],
                                              float (&factors)[2], bool more) {
    const uint64_t x = next_x(), y = next_x();
    products_fence();
    products(part, a, x, false);
    products(part, b, y, true);
    products_commit();
    if (TWO_PARTS) add_scaled(other, factors[0], factors[1]);
    const column_scales columns(scales[0]);
    factors[0] = columns.factor(0), factors[1] = columns.factor(1);
    give_weights_back();
    if (more) load_weights();
    products_wait<0>();
    give_x_back();
    give_x_back();
    if (more) {
      dequantize(0, a);
      dequantize(1, b);
    }
    pin(part);
    if (!TWO_PARTS) add_scaled(part, factors[0], factors[1]);
  }

  __device__ __forceinline__ void multiply_scaling_sums(int first, int last) {
    uint32_t a[4][4], b[4][4];
    float parts[TWO_PARTS ? 2 : 1][ROWS / 2], factors[2] = {0, 0};
#pragma unroll
    for (int i = 0; i < ROWS / 2; ++i) sums[i] = parts[TWO_PARTS][i] = 0;
    load_weights();
    dequantize(0, a);
    dequantize(1, b);
    int unit = first;
    if ((last - first) % 2 == 1) {
      scaled_unit(parts[0], parts[TWO_PARTS], a, b, factors, ++unit < last);
      if (TWO_PARTS) add_scaled(parts[0], factors[0], factors[1]);
      factors[0] = factors[1] = 0;  // of what has been added
    }
    for (; unit < last; unit += 2) {
      scaled_unit(parts[0], parts[TWO_PARTS], a, b, factors, true);
      scaled_unit(parts[TWO_PARTS], parts[0], a, b, factors, unit + 2 < last);
    }
    if (TWO_PARTS) add_scaled(parts[1], factors[0], factors[1]);
  }

  __device__ __forceinline__ void multiply(int first, int last) {
    if constexpr (ON_SUMS) {
      multiply_scaling_sums(first, last);
    } else {
      if constexpr (GROUPS == 2) multiply_overlapped(first, last);
      else if constexpr (ROWS >= 128) multiply_in_halves(first, last);
      else multiply_in_units(first, last);
    }
    pin(sums);
  }

  // BLOCKS blocks of 8 rows, the first of them row `first_row` of out, from the first of `sums`:
  // turned over in shared memory, so that 128 bytes of a row are stored side by side.
  template <int BLOCKS>
  __device__ __forceinline__ void store(int64_t first_row, int64_t first_column) {
    constexpr int AT_ONCE = BLOCKS < 4 ? BLOCKS : 4;
    const uint32_t room = base + S::STORE + group * 8192;
    const int in_group = warp % 4, octet = thread % 8;
    const int64_t column = first_column + octet * 8;
    group_barrier();
#pragma unroll
    for (int block = 0; block < BLOCKS; block += AT_ONCE) {
      const uint32_t half_room = room + block / AT_ONCE % 2 * 4096;
#pragma unroll
      for (int pair = 0; pair < (AT_ONCE + 1) / 2; ++pair) {
        uint32_t words[4] = {};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int of = block + pair * 2 + i / 2;
          if (pair * 2 + i / 2 < AT_ONCE && of < BLOCKS)
            words[i] = pair_of(sums[4 * of + i % 2 * 2], sums[4 * of + i % 2 * 2 + 1]);
        }
        const int matrix = lane / 8, row = pair * 16 + matrix / 2 * 8 + lane % 8;
        const int piece = in_group * 2 + matrix % 2;
        store_matrices(half_room + row * 128 + ((piece ^ row % 8) << 4), words);
      }
      group_barrier();
#pragma unroll
      for (int i = 0; i < (AT_ONCE * 64 + GROUP_THREADS - 1) / GROUP_THREADS; ++i) {
        const int row = (i * GROUP_THREADS + thread) / 8;
        const int64_t out_row = first_row + block * 8 + row;
        const bool ours = row < AT_ONCE * 8 && block * 8 + row < BLOCKS * 8;
        if (!ours || out_row >= p.rows || column >= p.n) continue;
        const uint4 v = shared_words4(half_room + row * 128 + ((octet ^ row % 8) << 4));
        half* const to = p.out + out_row * p.n + column;
        if (p.out_aligned) {
          *reinterpret_cast<uint4*>(to) = v;
        } else {
          const uint32_t words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
          for (int j = 0; j < 8; ++j)
            to[j] = __ushort_as_half(static_cast<unsigned short>(words[j / 2] >> (j % 2 * 16)));
        }
      }
    }
  }

  __device__ __forceinline__ float4 four(int block) const {
    return {sums[4 * block], sums[4 * block + 1], sums[4 * block + 2], sums[4 * block + 3]};
  }

  __device__ __forceinline__ void set(int block, const float4& v) {
    sums[4 * block] = v.x, sums[4 * block + 1] = v.y;
    sums[4 * block + 2] = v.z, sums[4 * block + 3] = v.w;
  }

  __device__ __forceinline__ void await(uint64_t* flag) const {
    while (flag_of(flag) != p.epoch) {
    }
    *flag = 0;  // a graph replays this call with the same epoch
  }

  // split::even. Part of a tile that another block began: into memory, for that block.
  __device__ __forceinline__ void hand_over(int block) const {
    constexpr int64_t PIECE = int64_t{ROW_BLOCKS} * GROUP_THREADS;
    float4* const to = p.partial + (int64_t{block} * GROUPS + group) * PIECE + thread;
#pragma unroll
    for (int j = 0; j < ROW_BLOCKS; ++j) __stcg(to + j * GROUP_THREADS, four(j));
    __threadfence();
    group_barrier();
    if (thread == 0) set_flag(p.flags + block * GROUPS + group, p.epoch);
  }

  // The rest of a tile that this block began, from the blocks after it, in their order. They have
  // lower numbers on the device: they have begun before.
  __device__ __forceinline__ void take_over(int block, int tile) {
    constexpr int64_t PIECE = int64_t{ROW_BLOCKS} * GROUP_THREADS;
    const int done = p.whole * p.blocks;
    const int64_t left = int64_t{p.tiles - done} * p.units, end = int64_t{tile - done + 1} * p.units;
    const int others = static_cast<int>((end * p.blocks - 1) / left) - block;
    for (int i = thread; i < others; i += GROUP_THREADS)
      await(p.flags + (block + 1 + i) * GROUPS + group);
    group_barrier();
    for (int other = 1; other <= others; ++other) {
      const float4* const from =
          p.partial + (int64_t{block + other} * GROUPS + group) * PIECE + thread;
#pragma unroll
      for (int j = 0; j < ROW_BLOCKS; ++j) {
        const float4 v = __ldcg(from + j * GROUP_THREADS), mine = four(j);
        set(j, {mine.x + v.x, mine.y + v.y, mine.z + v.z, mine.w + v.w});
      }
    }
  }

  // The other splits: each block gets a share of the tile's rows, whose sums over all parts of K
  // it adds up, in their order. They move to the front of `sums`.
  __device__ __forceinline__ void exchange(int part, int tile) {
    constexpr int SHARE = ROW_BLOCKS / PARTS;
    const uint32_t here = base + S::X;  // all boxes of x have been read
    float4* const pieces = p.partial + int64_t{tile} * PARTS * PARTS * SHARE * S::THREADS +
                           group * GROUP_THREADS + thread;
    if constexpr (HOW == split::cluster) cluster_arrive_relaxed(), cluster_wait();
#pragma unroll
    for (int owner = 0; owner < PARTS; ++owner) {
      if (owner == part) continue;
#pragma unroll
      for (int j = 0; j < SHARE; ++j) {
        const int place = (part * SHARE + j) * S::THREADS + group * GROUP_THREADS + thread;
        if constexpr (HOW == split::cluster)
          store_to_cluster(in_block(here + place * 16, owner), four(owner * SHARE + j));
        else
          __stcg(pieces + ((owner * PARTS + part) * SHARE + j) * S::THREADS,
                 four(owner * SHARE + j));
      }
    }
    if constexpr (HOW == split::cluster) {
      cluster_arrive(), cluster_wait();
    } else {
      __threadfence();
      group_barrier();
      uint64_t* const flags = p.flags + int64_t{tile} * PARTS * PARTS * GROUPS + group;
      if (thread < PARTS && thread != part) {
        set_flag(flags + (thread * PARTS + part) * GROUPS, p.epoch);
        await(flags + (part * PARTS + thread) * GROUPS);
      }
      group_barrier();
    }
#pragma unroll
    for (int owner = 0; owner < PARTS; ++owner) {
      if (owner != part) continue;
#pragma unroll
      for (int j = 0; j < SHARE; ++j) {
        float4 v[PARTS];
#pragma unroll
        for (int sender = 0; sender < PARTS; ++sender) {
          const int place = (sender * SHARE + j) * S::THREADS + group * GROUP_THREADS + thread;
          if (sender == owner) v[sender] = four(owner * SHARE + j);
          else if constexpr (HOW == split::cluster) v[sender] = shared_floats4(here + place * 16);
          else v[sender] = __ldcg(pieces + ((owner * PARTS + sender) * SHARE + j) * S::THREADS);
        }
        float4 all = v[0];
#pragma unroll
        for (int sender = 1; sender < PARTS; ++sender)
          all.x += v[sender].x, all.y += v[sender].y, all.z += v[sender].z, all.w += v[sender].w;
        set(j, all);
      }
    }
  }
};

template <int ROWS, int GROUPS, int SETS, split HOW, int PARTS>
__global__ void __launch_bounds__(GROUPS* GROUP_THREADS + GROUP_THREADS, 1)
    many_rows_kernel(const __grid_constant__ CUtensorMap x_map, const many_rows_call p) {
#ifdef EXLLAMA_SM90
  using S = many_shape<ROWS, GROUPS, SETS, HOW, PARTS>;
  constexpr int ALL_THREADS = S::THREADS + GROUP_THREADS;
  constexpr int READY = 7;  // the named barrier behind which mbarriers are there
  extern __shared__ uint8_t shared[];
  const uint32_t base = (shared_address(shared) + 1023) & ~1023u;  // the swizzle repeats so
  const int warp = __shfl_sync(0xffffffff, threadIdx.x / LANES, 0), lane = threadIdx.x % LANES;
  const int part = blockIdx.x % PARTS;
  const int only_tile = blockIdx.x / PARTS;
  const int block = p.blocks - 1 - static_cast<int>(blockIdx.x);  // of split::even
  multiplier<ROWS, GROUPS, SETS, HOW, PARTS> m{p, base, static_cast<int>(threadIdx.x % GROUP_THREADS),
                                               lane, warp, warp / 4};
  // Calls `each` with the tiles of this block and with the units of them that it multiplies.
  auto for_each_tile = [&](auto each) {
    if constexpr (HOW != split::even) {
      each(only_tile, p.units * part / PARTS, p.units * (part + 1) / PARTS);
    } else {
      walk path(p, block);
      int tile, first, last;
      while (path.next(tile, first, last)) each(tile, first, last);
    }
  };
  const bool multiplies = warp < GROUPS * 4;
  if (!multiplies) {  // who fetches sets the barriers up and goes on
    if (warp == GROUPS * 4 && lane == 0) {
      prefetch_map(&x_map);
      for (int i = 0; i < S::X_STAGES; ++i)
        barrier_init(m.x_full(i), 1), barrier_init(m.x_empty(i), GROUPS * 4);
      barriers_are_initialised();
    }
    if (warp == GROUPS * 4 + 1 && lane == 0) {
      for (int i = 0; i < S::W_STAGES; ++i)
        barrier_init(m.w_full(i), 1), barrier_init(m.w_empty(i), GROUPS * 4);
      barriers_are_initialised();
    }
    __syncwarp();
    named_arrive(READY, ALL_THREADS);
    give_registers<GROUPS == 4 ? 32 : 40>();
    if (warp == GROUPS * 4 && lane == 0) {
      wait_for_kernel_before();  // which may be the copy of x; nothing is written before x is here
      int slot = 0;
      uint32_t phase = 1;
      for_each_tile([&](int tile, int first, int last) {
        const int row = static_cast<int>(tile % p.row_tiles) * ROWS;
        for (int step = first * 2; step < last * 2; ++step) {
          wait(m.x_empty(slot), phase);
          arrive_expecting(m.x_full(slot), S::X_BYTES);
          copy_box(base + S::X + slot * S::X_BYTES, &x_map, step * STEP_ROWS, row, m.x_full(slot));
          if (++slot == S::X_STAGES) slot = 0, phase ^= 1;
        }
      });
    } else if (warp == GROUPS * 4 + 1) {  // each lane a tile of weights
      const uint64_t once = evict_first();
      int slot = 0;
      uint32_t phase = 1;
      for_each_tile([&](int tile, int first, int last) {
        const int64_t weights_tile = int64_t{tile / p.row_tiles} * S::TILES + lane;
        const uint8_t* from = p.weights + (weights_tile * p.units + first) * UNIT_BYTES<SETS>;
        for (int unit = first; unit < last; ++unit) {
          wait(m.w_empty(slot), phase);
          if (lane == 0) arrive_expecting(m.w_full(slot), S::WEIGHT_BYTES);
          __syncwarp();
          if (lane < S::TILES)
            bulk_copy_once(base + S::W + slot * S::WEIGHT_BYTES + lane * UNIT_BYTES<SETS>, from,
                           UNIT_BYTES<SETS>, m.w_full(slot), once);
          from += UNIT_BYTES<SETS>;
          if (++slot == S::W_STAGES) slot = 0, phase ^= 1;
        }
      });
    }
    __syncwarp();
    if constexpr (HOW == split::cluster) {
      cluster_arrive_relaxed(), cluster_wait();
      cluster_arrive_relaxed(), cluster_wait();
    }
  } else {
    named_barrier(READY, ALL_THREADS);
    take_registers<GROUPS == 2 ? 232 : 112>();
    for_each_tile([&](int tile, int first, int last) {
      m.multiply(first, last);
      const int64_t column = int64_t{tile / p.row_tiles} * S::COLUMNS + m.group * GROUP_COLUMNS;
      const int64_t row = int64_t{tile % p.row_tiles} * ROWS;
      if constexpr (HOW == split::even) {
        if (first > 0) return m.hand_over(block);
        if (last < p.units) m.take_over(block, tile);
        m.template store<ROWS / 8>(row, column);
      } else {
        m.exchange(part, tile);
        m.template store<ROWS / 8 / PARTS>(row + part * (ROWS / PARTS), column);
      }
    });
  }
#endif
}

template <int ROWS, int GROUPS, int SETS, split HOW, int PARTS>
many_rows_instance many_rows() {
  return {ROWS, GROUPS, SETS, HOW, PARTS, many_shape<ROWS, GROUPS, SETS, HOW, PARTS>::SHARED,
          many_rows_kernel<ROWS, GROUPS, SETS, HOW, PARTS>};
}

}  // namespace

}  // namespace exllama::sm90

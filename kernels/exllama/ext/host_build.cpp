// The kernels as C++: what a compiler without CUDA takes in place of the .cu files.
#include "column_remap.cu"
#include "multiply.cu"
#include "reconstruct.cu"
#include "rearrange.cu"
// And what stands for those that only a GPU can run.
#include "host/sm90_absent.h"

// The order of blocks and of a block's threads: 0 forward, 1 reverse, 2 random from `seed`.
extern "C" __attribute__((visibility("default"))) int exllama_host_order(int kind, uint64_t seed) {
  if (kind < exllama::host::FORWARD || kind > exllama::host::RANDOM) return -1;
  exllama::host::order() = {static_cast<exllama::host::order_kind>(kind), seed};
  return 0;
}

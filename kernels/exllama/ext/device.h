// The one header that knows where the kernels run. Everything else in this folder calls `launch`,
// `span`, `half2`, `mma_16x8x16` and so on; what these are on a GPU stands in cuda/, what they are
// on a CPU (compile with -DEXLLAMA_HOST) in host/. Both folders belong to this header.
#pragma once

#ifdef EXLLAMA_HOST
#include "host/half.h"
#include "host/span.h"
#include "host/launch.h"
#include "host/intrinsics.h"
#include "host/runtime.h"
#else
#include "cuda/launch.h"
#include "cuda/runtime.h"
#ifdef __CUDACC__  // kernels alone need it, and only nvcc can read it
#include "cuda/intrinsics.cuh"
#endif
#endif

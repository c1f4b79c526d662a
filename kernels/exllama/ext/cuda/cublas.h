// The part of cuBLAS that is used, declared here: its headers are not part of every CUDA compiler,
// and torch has loaded the library. Numbers are those of cublas_api.h and library_types.h.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

extern "C" {
int cublasCreate_v2(void** handle);
int cublasDestroy_v2(void* handle);
int cublasSetStream_v2(void* handle, cudaStream_t stream);
int cublasSetWorkspace_v2(void* handle, void* workspace, size_t bytes);
int cublasSetMathMode(void* handle, int mode);
int cublasGemmEx_64(void* handle, int transpose_a, int transpose_b, int64_t m, int64_t n,
                    int64_t k, const void* alpha, const void* a, int a_type, int64_t lda,
                    const void* b, int b_type, int64_t ldb, const void* beta, void* c, int c_type,
                    int64_t ldc, int compute_type, int algorithm);
const char* cublasGetStatusString(int status);
}

namespace exllama::cublas {

constexpr int AS_IT_IS = 0;                      // CUBLAS_OP_N
constexpr int FLOAT16 = 2;                       // CUDA_R_16F
constexpr int FLOAT32_SUMS = 68;                 // CUBLAS_COMPUTE_32F
constexpr int ANY_ALGORITHM = -1;                // CUBLAS_GEMM_DEFAULT
constexpr int NO_REDUCED_PRECISION_SUMS = 0x10;  // CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION

}  // namespace exllama::cublas

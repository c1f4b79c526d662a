// Streams, events, devices and the matrix product of a library, for a GPU.
#pragma once

#include "cublas.h"
#include "launch.h"

// torch's C interface, the same in every version: AOTInductor's output is linked against it.
extern "C" int32_t aoti_torch_get_current_cuda_stream(int32_t device, void** stream);

namespace exllama {

constexpr bool ON_GPU = true;
constexpr int LEAST_CAPABILITY = 8;  // mma.m16n8k16

struct device_shape {
  int multiprocessors;   // blocks that run at once
  int chunks_per_split;  // the least worth a block of its own
};

inline int attribute_of(int device, cudaDeviceAttr which) {
  int value = 0;
  check_cuda(cudaDeviceGetAttribute(&value, which, device), "cudaDeviceGetAttribute");
  return value;
}

inline device_shape shape_of_device(int device) {
  constexpr int CHUNKS_PER_SPLIT = 64;
  return {attribute_of(device, cudaDevAttrMultiProcessorCount), CHUNKS_PER_SPLIT};
}

inline int current_device() {
  int device = 0;
  check_cuda(cudaGetDevice(&device), "cudaGetDevice");
  return device;
}

// Why the kernels cannot run there; empty where they can.
inline std::string device_problem(int device) {
  int count = 0;
  check_cuda(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  if (device < 0 || device >= count) return "there are " + std::to_string(count) + " CUDA devices";
  const int major = attribute_of(device, cudaDevAttrComputeCapabilityMajor);
  if (major >= LEAST_CAPABILITY) return "";
  return "compute capability 8.0 or newer is needed, it has " + std::to_string(major) + "." +
         std::to_string(attribute_of(device, cudaDevAttrComputeCapabilityMinor));
}

// The caller's.
inline stream_handle current_stream(int device) {
  void* stream = nullptr;
  if (aoti_torch_get_current_cuda_stream(device, &stream) != 0)
    throw std::runtime_error("torch does not name its current stream");
  return static_cast<stream_handle>(stream);
}

// Streams that exist at the same time differ in it.
inline uintptr_t number_of(stream_handle stream) { return reinterpret_cast<uintptr_t>(stream); }

inline bool is_capturing(stream_handle stream) {
  cudaStreamCaptureStatus status;
  check_cuda(cudaStreamIsCapturing(stream, &status), "cudaStreamIsCapturing");
  return status != cudaStreamCaptureStatusNone;
}

inline void synchronize_stream(stream_handle stream) {
  check_cuda(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
}

// The current one.
inline void synchronize_device() { check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize"); }

// Belongs to the device that is current when it is created.
class event_handle {
 public:
  event_handle() {
    check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreate");
  }
  ~event_handle() { cudaEventDestroy(event_); }
  event_handle(const event_handle&) = delete;
  cudaError_t record(stream_handle stream) { return cudaEventRecord(event_, stream); }
  void hold_back(stream_handle stream) const {
    check_cuda(cudaStreamWaitEvent(stream, event_, 0), "cudaStreamWaitEvent");
  }
  void synchronize() const { check_cuda(cudaEventSynchronize(event_), "cudaEventSynchronize"); }

 private:
  cudaEvent_t event_ = nullptr;
};

// Work on a stream that must not overlap with such work on another.
class event_turn {
 public:
  event_turn(event_handle* shared, stream_handle stream) : shared_(shared), stream_(stream) {
    if (shared_ != nullptr) shared_->hold_back(stream);
  }
  ~event_turn() {
    if (shared_ != nullptr && shared_->record(stream_) != cudaSuccess) cudaGetLastError();
  }
  event_turn(const event_turn&) = delete;

 private:
  event_handle* shared_;
  stream_handle stream_;
};

// out [M, N] = x [M, K] times weights [K, N], float32 sums. The handle is ours alone: nobody's
// stream, workspace or math mode is changed.
class gemm_handle {
 public:
  static constexpr int64_t WORKSPACE_BYTES = int64_t{32} << 20;  // what cuBLAS asks for on sm_90

  gemm_handle() {
    check(cublasCreate_v2(&handle_), "cublasCreate");
    check(cublasSetMathMode(handle_, cublas::NO_REDUCED_PRECISION_SUMS), "cublasSetMathMode");
  }
  ~gemm_handle() { cublasDestroy_v2(handle_); }
  gemm_handle(const gemm_handle&) = delete;

  void run(stream_handle stream, void* workspace, span<const half> x,
           int64_t x_stride, span<const half> weights, span<half> out, int64_t m, int64_t n,
           int64_t k) const {
    const float one = 1.0f, zero = 0.0f;  // of out nothing is read where it counts for 0
    check(cublasSetStream_v2(handle_, stream), "cublasSetStream");  // forgets the workspace
    check(cublasSetWorkspace_v2(handle_, workspace, WORKSPACE_BYTES), "cublasSetWorkspace");
    // Its matrices are in columns: ours read that way are transposed, and so is their product.
    check(cublasGemmEx_64(handle_, cublas::AS_IT_IS, cublas::AS_IT_IS, n, m, k, &one, weights,
                          cublas::FLOAT16, n, x, cublas::FLOAT16, x_stride, &zero, out,
                          cublas::FLOAT16, n, cublas::FLOAT32_SUMS, cublas::ANY_ALGORITHM),
          "cublasGemmEx");
  }

 private:
  static void check(int status, const char* what) {
    if (status != 0)
      throw std::runtime_error(std::string(what) + ": " + cublasGetStatusString(status));
  }

  void* handle_ = nullptr;
};

}  // namespace exllama

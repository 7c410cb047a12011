// Names shared by kernels and by the host code that calls them. No CUDA header: bindings_cuda.cpp is compiled by g++.
#pragma once

#ifndef REGKD_LEVEL
#define REGKD_LEVEL cuda_level
#endif

#include <cstddef>
#include <cstdint>

#ifdef __CUDACC__
#define REGKD_BOTH __host__ __device__ __forceinline__
#else
#define REGKD_BOTH inline __attribute__((always_inline))
#endif

namespace regkd {
namespace cuda {

constexpr int kWarp = 32;

using Status = int;    // a cudaError_t; 0: success
using Stream = void*;  // a cudaStream_t

}  // namespace cuda
}  // namespace regkd

// What a kernel file needs of the device and of the launch, in one place: dynamic shared memory, barriers, the two
// atomics of the grid barrier, and `launch`. Everything else of a kernel is plain C++ over csrc/core.
//
// Without nvcc this header asks for `cuda_on_cpu.h` of the tests, which supplies the same names as threads of the CPU.
#pragma once

#include "common.h"

#ifdef __CUDACC__
#include <cuda_runtime.h>

#include <mutex>
#include <set>
#include <utility>
#define REGKD_CALL __device__ __noinline__
#define REGKD_WORK inline __host__ __device__ __noinline__  // called by the templates of csrc/core
#else
#include "cuda_on_cpu.h"
#define REGKD_CALL inline
#define REGKD_WORK inline
#endif
namespace regkd {
namespace cuda {

struct Grid {
    unsigned blocks_x, blocks_y;  // y: the member of an ensemble
    unsigned threads;
    size_t shared_bytes;   // dynamic; more than 48 KB needs the opt-in of `allow_shared`
    bool cooperative;      // all blocks resident at once: a grid barrier may be used
    unsigned cluster = 1;  // blocks of a cluster, along x
};

#ifdef __CUDACC__

// The block's barrier, callable from the host-and-device templates of csrc/core.
REGKD_BOTH void barrier() {
#ifdef __CUDA_ARCH__
    __syncthreads();
#endif
}

// A warp's own barrier: its lanes have met, and see what the others wrote before.
REGKD_BOTH void warp_barrier() {
#ifdef __CUDA_ARCH__
    __syncwarp();
#endif
}

// The value of lane (this ^ other); all 32 lanes take part.
template <class T>
REGKD_BOTH T from_lane_xor(T value, int other) {
#ifdef __CUDA_ARCH__
    return __shfl_xor_sync(0xFFFFFFFFu, value, other);
#else
    return value * static_cast<T>(other);  // never called on the host
#endif
}

REGKD_BOTH int thread_index() {
#ifdef __CUDA_ARCH__
    return static_cast<int>(threadIdx.x);
#else
    return 0;
#endif
}
REGKD_BOTH int thread_count() {
#ifdef __CUDA_ARCH__
    return static_cast<int>(blockDim.x);
#else
    return 1;
#endif
}

// Where a pointer points, so that the compiler names the memory in loads and stores.
REGKD_BOTH bool in_shared(const void* p) {
#ifdef __CUDA_ARCH__
    return __isShared(p);
#else
    return p == nullptr;
#endif
}
template <class T>
REGKD_BOTH T* assume_shared(T* p) {
#ifdef __CUDA_ARCH__
    __builtin_assume(__isShared(p));
#endif
    return p;
}
template <class T>
REGKD_BOTH T* assume_global(T* p) {
#ifdef __CUDA_ARCH__
    __builtin_assume(__isGlobal(p));
#endif
    return p;
}

// An asynchronous copy of 4 or 16 bytes from global to shared memory, past the registers; the reader waits for it. It
// reads what the L2 holds. Before sm_80 it is a copy like any other.
template <int kBytes>
REGKD_BOTH void copy_later(float* to, const float* from) {
    static_assert(kBytes == 4 || kBytes == 16, "sizes of cp.async");
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(to));
    if constexpr (kBytes == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(at), "l"(from) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(at), "l"(from) : "memory");
#else
    if constexpr (kBytes == 16)
        *reinterpret_cast<float4*>(to) = *reinterpret_cast<const float4*>(from);
    else
        *to = *from;
#endif
}
// Ends a group of this thread's copies.
REGKD_BOTH void copies_end() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// This thread's groups but the last kPending have arrived, for 0 also what is in no group; a barrier then shows them to
// others.
template <int kPending>
REGKD_BOTH void wait_for_copies() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    if constexpr (kPending == 0)
        asm volatile("cp.async.wait_all;" ::: "memory");
    else
        asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
#endif
}

// The block's dynamic shared memory, 16-byte aligned.
REGKD_BOTH float* block_shared() {
#ifdef __CUDA_ARCH__
    extern __shared__ float4 regkd_shared[];
    return reinterpret_cast<float*>(regkd_shared);
#else
    return nullptr;  // never called on the host
#endif
}

// Release: what this block wrote before (its threads having met at __syncthreads) is visible to a block that acquires.
__device__ __forceinline__ unsigned add_acquire_release(unsigned* p, unsigned n) {
    unsigned old;
    asm volatile("atom.add.acq_rel.gpu.u32 %0, [%1], %2;" : "=r"(old) : "l"(p), "r"(n) : "memory");
    return old;
}
__device__ __forceinline__ void store_release(unsigned* p, unsigned v) {
    asm volatile("st.release.gpu.u32 [%0], %1;" ::"l"(p), "r"(v) : "memory");
}
__device__ __forceinline__ unsigned load_acquire(const unsigned* p) {
    unsigned v;
    asm volatile("ld.acquire.gpu.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
    return v;
}
// The barrier of a cluster's threads in two halves: what they wrote before the first, in shared or global memory, is
// seen after the second. Code for devices without clusters never gets here: the plan asks what was compiled.
__device__ __forceinline__ void cluster_arrive() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.arrive.release;" ::: "memory");
#endif
}
__device__ __forceinline__ void cluster_wait() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
#endif
}
__device__ __forceinline__ void wait_a_little() { __nanosleep(32); }

// Lets a kernel have all the dynamic shared memory of the current device; asked of the driver once per kernel and
// device.
inline cudaError_t allow_shared(const void* kernel) {
    int device = 0, most = 0;
    cudaError_t status = cudaGetDevice(&device);
    if (status != cudaSuccess) return status;
    static std::mutex lock;
    static std::set<std::pair<const void*, int>> done;
    const std::lock_guard<std::mutex> hold(lock);
    if (done.count({kernel, device})) return cudaSuccess;
    status = cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    if (status == cudaSuccess) status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most);
    if (status == cudaSuccess) done.insert({kernel, device});
    return status;
}

// The largest cluster of blocks, a power of 2 up to `most`, that the current device and the code compiled for it have;
// 1 where there are none.
template <class Kernel>
cudaError_t largest_cluster(Kernel* kernel, unsigned threads, size_t shared_bytes, int most, int32_t* found) {
    *found = 1;
    cudaFuncAttributes code;
    cudaError_t status = cudaFuncGetAttributes(&code, kernel);
    if (status != cudaSuccess || code.ptxVersion < 90 || code.binaryVersion < 90) return status;
    status = cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
    if (status != cudaSuccess) return status;
    for (int blocks = most; blocks > 1; blocks /= 2) {
        cudaLaunchAttribute attribute = {};
        attribute.id = cudaLaunchAttributeClusterDimension;
        attribute.val.clusterDim.x = static_cast<unsigned>(blocks);
        attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
        cudaLaunchConfig_t config = {};
        config.gridDim = dim3(static_cast<unsigned>(blocks));
        config.blockDim = dim3(threads);
        config.dynamicSmemBytes = shared_bytes;
        config.attrs = &attribute;
        config.numAttrs = 1;
        int resident = 0;
        if (cudaOccupancyMaxActiveClusters(&resident, kernel, &config) == cudaSuccess && resident > 0) {
            *found = blocks;
            return cudaSuccess;
        }
        cudaGetLastError();  // too large for this device is an answer, not a failure
    }
    return cudaSuccess;
}

// Asynchronous on `stream`, no allocation, no synchronisation: legal while the stream is being captured.
template <class... Parameters>
Status launch(void (*kernel)(Parameters...), Grid grid, Stream stream, Parameters... arguments) {
    if (grid.shared_bytes > 48 * 1024) {
        const cudaError_t status = allow_shared(reinterpret_cast<const void*>(kernel));
        if (status != cudaSuccess) return status;
    }
    cudaLaunchAttribute attribute = {};
    if (grid.cooperative) {
        attribute.id = cudaLaunchAttributeCooperative;
        attribute.val.cooperative = 1;
    } else {
        attribute.id = cudaLaunchAttributeClusterDimension;
        attribute.val.clusterDim.x = grid.cluster;
        attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
    }
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(grid.blocks_x, grid.blocks_y);
    config.blockDim = dim3(grid.threads);
    config.dynamicSmemBytes = grid.shared_bytes;
    config.stream = static_cast<cudaStream_t>(stream);
    config.attrs = &attribute;
    config.numAttrs = grid.cooperative || grid.cluster > 1 ? 1 : 0;
    return cudaLaunchKernelEx(&config, kernel, arguments...);
}

#endif  // __CUDACC__

}  // namespace cuda
}  // namespace regkd

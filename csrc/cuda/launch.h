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
#else
#include "cuda_on_cpu.h"
#define REGKD_CALL inline
#endif
namespace regkd {
namespace cuda {

struct Grid {
    unsigned blocks_x, blocks_y;  // y: the member of an ensemble
    unsigned threads;
    size_t shared_bytes;  // dynamic; more than 48 KB needs the opt-in of `allow_shared`
    bool cooperative;     // all blocks resident at once: a grid barrier may be used
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
__device__ __forceinline__ float* block_shared() {
    extern __shared__ float4 regkd_shared[];
    return reinterpret_cast<float*>(regkd_shared);
}

// Release: what this block wrote before (its threads having met at __syncthreads) is visible to whoever acquires.
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

// Asynchronous on `stream`, no allocation, no synchronisation: legal while the stream is being captured.
template <class... Parameters>
Status launch(void (*kernel)(Parameters...), Grid grid, Stream stream, Parameters... arguments) {
    if (grid.shared_bytes > 48 * 1024) {
        const cudaError_t status = allow_shared(reinterpret_cast<const void*>(kernel));
        if (status != cudaSuccess) return status;
    }
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeCooperative;
    attribute.val.cooperative = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(grid.blocks_x, grid.blocks_y);
    config.blockDim = dim3(grid.threads);
    config.dynamicSmemBytes = grid.shared_bytes;
    config.stream = static_cast<cudaStream_t>(stream);
    config.attrs = &attribute;
    config.numAttrs = grid.cooperative ? 1 : 0;
    return cudaLaunchKernelEx(&config, kernel, arguments...);
}

#endif  // __CUDACC__

}  // namespace cuda
}  // namespace regkd

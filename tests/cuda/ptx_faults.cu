// Small kernels, right and wrong, whose behaviour on tools/lib/ptx is known: test_ptx_machine.py.
#include <cstdint>

struct Call {
    float* x;        // [n]
    float* y;        // [n]
    unsigned* flag;  // [1], zero
    int n;
};

extern __shared__ float4 window[];
__device__ __forceinline__ float* shared() { return reinterpret_cast<float*>(window); }

#define KERNEL extern "C" __global__ void

KERNEL misaligned(const Call c) {
    const float4 v = *reinterpret_cast<const float4*>(c.x + 1);
    c.y[0] = v.x + v.y + v.z + v.w;
}
KERNEL null_pointer(const Call c) {
    if (c.flag == nullptr) *c.flag = 1;
}
KERNEL beyond_the_end(const Call c) { c.y[threadIdx.x] = c.x[threadIdx.x + 1]; }
KERNEL beyond_shared(const Call c) {
    shared()[threadIdx.x + 1] = 1.0f;
    __syncthreads();
    c.y[threadIdx.x] = shared()[threadIdx.x];
}

// Each thread reads what its right neighbour wrote; `distance` 1 inside a warp, 32 across warps.
template <int distance, int fence>
__device__ __forceinline__ void neighbour(const Call& c) {
    const unsigned t = threadIdx.x, other = distance == 1 ? (t & ~31u) + (t + 1) % 32 : (t + distance) % blockDim.x;
    shared()[t] = c.x[t];
    if (fence == 1) __syncwarp();
    if (fence == 2) __syncthreads();
    c.y[t] = shared()[other];
}
KERNEL neighbour_without_barrier(const Call c) { neighbour<32, 0>(c); }
KERNEL neighbour_with_barrier(const Call c) { neighbour<32, 2>(c); }
KERNEL lane_without_barrier(const Call c) { neighbour<1, 0>(c); }
KERNEL lane_with_warp_barrier(const Call c) { neighbour<1, 1>(c); }
KERNEL warps_with_warp_barrier(const Call c) { neighbour<32, 1>(c); }

// Each thread copies a word to shared memory and its right neighbour's is read; `kind` says what is missing of wait and
// warp barrier. Two groups are under way; the second goes where nobody reads.
template <bool wait, bool barrier>
__device__ __forceinline__ void copied(const Call& c) {
    const unsigned t = threadIdx.x, at = static_cast<unsigned>(__cvta_generic_to_shared(shared() + t));
    shared()[t] = 0.0f;
    for (unsigned i = 0; i < 2; ++i) {
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(at + 4 * i * blockDim.x), "l"(c.x + t)
                     : "memory");
        asm volatile("cp.async.commit_group;" ::: "memory");
    }
    if (wait) asm volatile("cp.async.wait_group 1;" ::: "memory");
    if (barrier) __syncwarp();
    c.y[t] = shared()[barrier ? (t & ~31u) + (t + 1) % 32 : t];
}
KERNEL copy_with_all(const Call c) { copied<true, true>(c); }
KERNEL copy_without_wait(const Call c) { copied<false, true>(c); }
KERNEL copy_of_its_own(const Call c) { copied<true, false>(c); }
KERNEL copy_of_its_own_without_wait(const Call c) { copied<false, false>(c); }
KERNEL copy_seen_by_another(const Call c) {
    copied<true, false>(c);
    c.y[threadIdx.x] = shared()[threadIdx.x ^ 1];
}
KERNEL copy_beyond_the_end(const Call c) {
    const unsigned at = static_cast<unsigned>(__cvta_generic_to_shared(shared() + threadIdx.x));
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(at), "l"(c.x + threadIdx.x + 1) : "memory");
    asm volatile("cp.async.wait_all;" ::: "memory");
}

// Writes what all have read, without a barrier between.
KERNEL write_after_read(const Call c) {
    c.y[threadIdx.x] = shared()[0];
    if (threadIdx.x == 40) shared()[0] = 1.0f;
}

// Block 0 writes, block 1 reads once the flag is up. Which of the four pieces are there is in `kind`.
template <bool release, bool acquire, bool barrier_after>
__device__ __forceinline__ void message(const Call& c) {
    if (blockIdx.x == 0) {
        c.x[threadIdx.x] = 2.0f;
        __syncthreads();
        if (threadIdx.x == 0) {
            if (release)
                asm volatile("st.release.gpu.u32 [%0], 1;" ::"l"(c.flag) : "memory");
            else
                asm volatile("st.relaxed.gpu.u32 [%0], 1;" ::"l"(c.flag) : "memory");
        }
        return;
    }
    if (threadIdx.x == 0) {
        unsigned up = 0;
        while (!up) {
            if (acquire)
                asm volatile("ld.acquire.gpu.u32 %0, [%1];" : "=r"(up) : "l"(c.flag) : "memory");
            else
                asm volatile("ld.relaxed.gpu.u32 %0, [%1];" : "=r"(up) : "l"(c.flag) : "memory");
            if (!up) __nanosleep(10);
        }
    }
    if (barrier_after) __syncthreads();
    if (!barrier_after) __nanosleep(10);
    c.y[threadIdx.x] = c.x[threadIdx.x];
}
KERNEL message_with_all(const Call c) { message<true, true, true>(c); }
KERNEL message_without_release(const Call c) { message<false, true, true>(c); }
KERNEL message_without_acquire(const Call c) { message<true, false, true>(c); }
KERNEL message_without_barrier(const Call c) { message<true, true, false>(c); }

KERNEL waits_for_ever(const Call c) {
    unsigned up = 0;
    while (!up) {
        asm volatile("ld.acquire.gpu.u32 %0, [%1];" : "=r"(up) : "l"(c.flag) : "memory");
        __nanosleep(10);
    }
}
KERNEL butterfly(const Call c) {
    float v = c.x[threadIdx.x];
    for (int step = 16; step; step >>= 1) v += __shfl_xor_sync(~0u, v, step);
    c.y[threadIdx.x] = v;
}
// Lane i of a warp runs i + 1 rounds of one fused multiply-add: the warp issues 32.
KERNEL diverging(const Call c) {
    float v = c.x[threadIdx.x];
#pragma unroll 1
    for (unsigned i = 0; i <= (threadIdx.x & 31); ++i) v = fmaf(v, v, 1.0f);
    c.y[threadIdx.x] = v;
}
KERNEL integers(const Call c) {  // y: what host code computes too
    const unsigned t = threadIdx.x;
    const uint64_t wide = (uint64_t{t} << 33) * 0x9E3779B97F4A7C15ull;
    const int quotient = (static_cast<int>(t) - 20) / 7, rest = (static_cast<int>(t) - 20) % 7;
    const unsigned mixed = static_cast<unsigned>(wide >> 40) ^ __umulhi(t * 2654435761u, 40503u) ^ (t << (t & 7));
    c.y[t] = static_cast<float>(mixed & 0xFFFF) + 0.25f * quotient + 0.125f * rest + __int2float_rn(__clz(t + 1));
}

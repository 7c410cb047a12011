// CUDA's names as threads of the CPU, so that g++ compiles and runs the kernel files of csrc/cuda as they are.
//
// A device thread is a CPU thread; a block's barrier is a barrier of its threads; a block's dynamic
// shared memory is a vector of its own. All blocks of a wave run at once, so ThreadSanitizer sees races inside a block
// and between blocks. Two settings make the races of a wrong kernel appear:
//   CUDA_ON_CPU_SKIP_BARRIER=n   the n-th block barrier of a launch (0 is the first) does nothing, in every thread
//   CUDA_ON_CPU_MAX_THREADS=n    threads alive at once for a launch that is not cooperative (default 512)
// Shared memory starts as signalling garbage (NaN), as a kernel must not count on zeros.
//
// With REGKD_PTX, `launch` runs the kernel's compiled PTX instead (tools/lib/ptx), found by the kernel's mangled name.
#pragma once

#ifdef REGKD_PTX
#include <dlfcn.h>
extern "C" int ptx_launch(const char* name, unsigned blocks_x, unsigned blocks_y, unsigned threads,
                          uint64_t shared_bytes, const void* parameters, uint64_t bytes, unsigned cluster_blocks);
#endif

#include <pthread.h>

#include "../../csrc/cuda/common.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <thread>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__

namespace cuda_on_cpu {

struct Index {
    unsigned x = 0, y = 0, z = 0;
};

// Barriers take turns among three objects. ThreadSanitizer lets a thread that wakes late from a barrier see whatever
// has been released to that object by then; on one object that would include the next phase's work, and hide its races.
struct Block {
    struct Warp {
        pthread_barrier_t barriers[3];
        double exchanged[32];
    };
    pthread_barrier_t barriers[3];
    std::vector<Warp> warps;
    std::vector<float> shared;
    Block(unsigned threads, size_t shared_bytes)
        : warps(threads / 32),
          shared(shared_bytes / sizeof(float) + 4, std::numeric_limits<float>::quiet_NaN()) {
        for (pthread_barrier_t& barrier : barriers) pthread_barrier_init(&barrier, nullptr, threads);
        for (Warp& warp : warps)
            for (pthread_barrier_t& barrier : warp.barriers) pthread_barrier_init(&barrier, nullptr, 32);
    }
    ~Block() {
        for (pthread_barrier_t& barrier : barriers) pthread_barrier_destroy(&barrier);
        for (Warp& warp : warps)
            for (pthread_barrier_t& barrier : warp.barriers) pthread_barrier_destroy(&barrier);
    }
    Block(const Block&) = delete;
};

// The blocks of a member, where they are launched as a cluster.
struct Cluster {
    pthread_barrier_t barriers[3];
    explicit Cluster(unsigned threads) {
        for (pthread_barrier_t& barrier : barriers) pthread_barrier_init(&barrier, nullptr, threads);
    }
    ~Cluster() {
        for (pthread_barrier_t& barrier : barriers) pthread_barrier_destroy(&barrier);
    }
    Cluster(const Cluster&) = delete;
};

struct Thread {
    Index thread, block, block_size, grid_size;
    Block* own = nullptr;
    long barriers = 0;  // met so far in this launch
    long warp_barriers = 0;
    Cluster* cluster = nullptr;
    long cluster_barriers = 0;
};

inline thread_local Thread current;

inline long setting(const char* name, long otherwise) {
    const char* text = std::getenv(name);
    return text ? std::strtol(text, nullptr, 10) : otherwise;
}

inline std::atomic<long> skipped_barrier{-1};    // read once a launch
inline std::atomic<long> barriers_of_launch{0};  // how many a thread met: lets a test skip each in turn

inline void meet() {
    const long number = current.barriers++;
    if (number != skipped_barrier.load(std::memory_order_relaxed))
        pthread_barrier_wait(&current.own->barriers[number % 3]);
}

inline void meet_in_cluster() { pthread_barrier_wait(&current.cluster->barriers[current.cluster_barriers++ % 3]); }
inline Block::Warp& warp() { return current.own->warps[current.thread.x / 32]; }
inline void meet_in_warp() { pthread_barrier_wait(&warp().barriers[current.warp_barriers++ % 3]); }

}  // namespace cuda_on_cpu

#define threadIdx (cuda_on_cpu::current.thread)
#define blockIdx (cuda_on_cpu::current.block)
#define blockDim (cuda_on_cpu::current.block_size)
#define gridDim (cuda_on_cpu::current.grid_size)

struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};

namespace regkd {
namespace cuda {

inline void barrier() { cuda_on_cpu::meet(); }
inline void warp_barrier() { cuda_on_cpu::meet_in_warp(); }
template <class T>
T from_lane_xor(T value, int other) {
    double* values = cuda_on_cpu::warp().exchanged;
    const unsigned lane = cuda_on_cpu::current.thread.x % 32;
    values[lane] = static_cast<double>(value);
    cuda_on_cpu::meet_in_warp();
    const T found = static_cast<T>(values[lane ^ static_cast<unsigned>(other)]);
    cuda_on_cpu::meet_in_warp();
    return found;
}
inline int thread_index() { return static_cast<int>(threadIdx.x); }
inline int thread_count() { return static_cast<int>(blockDim.x); }
inline bool in_shared(const void*) { return false; }
template <class T>
T* assume_shared(T* p) {
    return p;
}
template <class T>
T* assume_global(T* p) {
    return p;
}
template <int kBytes>
void copy_later(float* to, const float* from) {
    for (int i = 0; i < kBytes / 4; ++i) to[i] = from[i];
}
inline void copies_end() {}
template <int kPending>
void wait_for_copies() {}
inline void cluster_arrive() {}
inline void cluster_wait() { cuda_on_cpu::meet_in_cluster(); }
inline float* block_shared() {
    float* p = cuda_on_cpu::current.own->shared.data();
    return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(p) + 15) & ~uintptr_t{15});
}
inline unsigned add_acquire_release(unsigned* p, unsigned n) { return __atomic_fetch_add(p, n, __ATOMIC_ACQ_REL); }
inline void store_release(unsigned* p, unsigned v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
inline unsigned load_acquire(const unsigned* p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
inline void wait_a_little() { std::this_thread::yield(); }

#ifdef REGKD_PTX
template <class G, class Parameter>
Status launch(void (*kernel)(Parameter), G grid, Stream, Parameter argument) {
    Dl_info found;
    if (!dladdr(reinterpret_cast<const void*>(kernel), &found) || !found.dli_sname) return 1;
    return ptx_launch(found.dli_sname, grid.blocks_x, grid.blocks_y, grid.threads, grid.shared_bytes, &argument,
                      sizeof argument, grid.cluster);
}
#else
// Runs the blocks in waves; returns when all are done.
template <class G, class... Parameters>
Status launch(void (*kernel)(Parameters...), G grid, Stream, Parameters... arguments) {
    using namespace cuda_on_cpu;
    skipped_barrier = setting("CUDA_ON_CPU_SKIP_BARRIER", -1);
    barriers_of_launch = 0;
    const unsigned blocks = grid.blocks_x * grid.blocks_y;
    const unsigned most = static_cast<unsigned>(setting("CUDA_ON_CPU_MAX_THREADS", 512));
    const bool together = grid.cooperative || grid.cluster > 1;
    const unsigned wave = together || most < grid.threads ? (together ? blocks : 1u) : most / grid.threads;
    for (unsigned first = 0; first < blocks; first += wave) {
        const unsigned last = first + wave < blocks ? first + wave : blocks;
        std::vector<std::unique_ptr<Block> > own;
        std::vector<std::unique_ptr<Cluster> > clusters;
        std::vector<std::thread> threads;
        for (unsigned b = first; b < last; ++b) {
            own.push_back(std::make_unique<Block>(grid.threads, grid.shared_bytes));
            Block* block = own.back().get();
            if ((b - first) % grid.cluster == 0)
                clusters.push_back(std::make_unique<Cluster>(grid.threads * grid.cluster));
            Cluster* cluster = clusters.back().get();
            for (unsigned t = 0; t < grid.threads; ++t) {
                threads.emplace_back([=] {
                    current = Thread{};
                    current.thread.x = t;
                    current.block = {b % grid.blocks_x, b / grid.blocks_x, 0};
                    current.block_size = {grid.threads, 1, 1};
                    current.grid_size = {grid.blocks_x, grid.blocks_y, 1};
                    current.own = block;
                    current.cluster = cluster;
                    kernel(arguments...);
                    if (t == 0 && b == 0) barriers_of_launch = current.barriers;
                });
            }
        }
        for (std::thread& thread : threads) thread.join();
    }
    return 0;
}
#endif

}  // namespace cuda
}  // namespace regkd

// A device on one thread of the CPU: a fiber per device thread, blocks in turns, barriers, and checks at every access.
// The translated kernels (translate.py) call what is declared here; the driver's `launch` calls `Machine::launch`.
//
// PTX_CHECK: bounds, alignment, races. PTX_COUNT: instructions. Both are set by build.py.
#pragma once

#include <csetjmp>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <sys/mman.h>
#include <ucontext.h>

#include "arithmetic.h"
#include "copies.h"
#include "counts.h"
#include "memory.h"

namespace ptx {

struct Thread;
struct Block;
class Machine;

using Entry = void (*)(Thread&, const uint8_t* parameters);
struct Kernel {
    const char* name;
    Entry entry;
    size_t parameter_bytes;
};

enum class State { kReady, kAtBarrier, kAtWarp, kArriving, kAtCluster, kSpinning, kDone };

constexpr size_t kStackBytes = 256 * 1024;

struct Thread {
    jmp_buf context;
    ucontext_t first;
    uint8_t* stack = nullptr;
    Machine* machine = nullptr;
    Block* block = nullptr;
    WarpCounts* counts = nullptr;
    uint32_t tid = 0, warp_epoch = 0, releases = 0;
    uint32_t phase = 0;
    int stopped_at = 0;  // line of the barrier it waits at
    State state = State::kReady;
    bool started = false, carry = false, in_container = true;
    Knowledge acquired;  // since the block's last barrier
    uint64_t exchanged = 0;
    Copies copies;

    inline void count(uint32_t basic_block);
};

// Blocks that meet at barrier.cluster; its two halves are one meeting.
struct Cluster {
    uint32_t blocks = 1, arrived = 0, meetings = 0;
    Knowledge gathered, known;  // of those who have arrived, of the last meeting
};

struct Block {
    Cluster* cluster = nullptr;
    uint32_t meeting = 0;  // of the cluster, that this block has arrived at
    Region region = 0;
    uint32_t x = 0, y = 0, number = 0, epoch = 1;
    std::vector<uint8_t> memory;
    Window shared;
    Knowledge known;
    std::vector<std::unique_ptr<Thread>> threads;
    std::vector<WarpCounts> warps;
    bool done = false;
};

class Machine {
  public:
    Memory memory;
    Counts counts;
    std::string error;               // of the last launch, empty: none
    int skipped_barrier = 0;         // line of a barrier that does nothing
    int order = 0;                   // of the threads between barriers: 0 forwards, 1 backwards, 2 odd ones first
    std::vector<uint64_t> barriers;  // [lines] how often a barrier was met
    unsigned grid_x = 1, grid_y = 1, threads = 1;

    static Machine& only() {
        static Machine machine;
        return machine;
    }

    // Status 0, or 1 with `error`. Blocks of one launch take turns, so a grid barrier works for any number of them.
    int launch(const Kernel& kernel, unsigned blocks_x, unsigned blocks_y, unsigned block_threads, size_t shared_bytes,
               const void* parameters, unsigned cluster_blocks = 1);

    void yield(Thread& t, State state, int line) {
        t.state = state;
        t.stopped_at = line;
        if (_setjmp(t.context) == 0) _longjmp(scheduler_, 1);
    }
    [[noreturn]] void fail(const Thread& t, int line, const char* format, ...) __attribute__((format(printf, 4, 5)));

    const uint8_t* parameters_begin() const { return parameters_.data(); }
    size_t parameters_size() const { return parameters_.size(); }

  private:
    friend void start_fiber(unsigned, unsigned);
    bool run_block(Block& block);
    void resume(Thread& t);
    void open_barrier(Block& block);
    void join_acquired(Block& block);
    void count_meeting(Block& block);
    bool open_cluster(Block& block);
    void open_warps(Block& block);

    jmp_buf scheduler_;
    const Kernel* kernel_ = nullptr;
    std::vector<uint8_t> parameters_;
    std::vector<uint8_t*> stacks_;
    bool failed_ = false;
};

inline void Thread::count(uint32_t basic_block) {
    counts->enter(phase * static_cast<uint32_t>(machine->counts.blocks) + basic_block);
}

// A function of the kernel begins: it is a phase, unless it was called by one.
struct Phase {
    Phase(Thread& thread, uint32_t phase, bool container)
        : t(thread),
          before(thread.phase),
          was_in_container(thread.in_container) {
        if (container || was_in_container) t.phase = phase;
        t.in_container = container;
    }
    ~Phase() {
        t.phase = before;
        t.in_container = was_in_container;
    }
    Thread& t;
    const uint32_t before;
    const bool was_in_container;
};

// ---- what translated code calls ------------------------------------------------------------------------------------

inline void barrier(Thread& t, int line) {
    Machine& m = *t.machine;
    if (static_cast<size_t>(line) >= m.barriers.size()) m.barriers.resize(line + 1);
    ++m.barriers[line];
    if (line != m.skipped_barrier) m.yield(t, State::kAtBarrier, line);
}
// The cluster's barrier. A block's threads wait for each other at both halves: one of the orders that a device may
// take.
inline void cluster_arrive(Thread& t, int line) { t.machine->yield(t, State::kArriving, line); }
inline void cluster_wait(Thread& t, int line) { t.machine->yield(t, State::kAtCluster, line); }
inline void warp_barrier(Thread& t, int line) {
    t.machine->yield(t, State::kAtWarp, line);
    ++t.warp_epoch;
}
inline void spin(Thread& t, int line) { t.machine->yield(t, State::kSpinning, line); }

// The lane's value of another lane; all 32 lanes take part. Orders nothing in memory.
inline uint32_t exchange(Thread& t, uint32_t value, uint32_t from, int line) {
    t.exchanged = value;
    t.machine->yield(t, State::kAtWarp, line);
    const uint32_t first = t.tid & ~31u;
    const uint32_t got = static_cast<uint32_t>(t.block->threads[first + (from & 31)]->exchanged);
    t.machine->yield(t, State::kAtWarp, line);
    return got;
}

inline bool in_shared(const Thread& t, uint64_t address) {
    return t.block->shared.begin <= address && address < t.block->shared.end;
}

uint8_t* check(Thread& t, Space space, bool write, bool synchronises, uint64_t address, size_t bytes, int line);

// Where an access goes: host memory of `bytes`, checked.
inline uint8_t* at(Thread& t, Space space, bool write, uint64_t address, size_t bytes, int line) {
#ifdef PTX_CHECK
    return check(t, space, write, false, address, bytes, line);
#else
    (void)write, (void)bytes, (void)line;
    return reinterpret_cast<uint8_t*>(space == Space::kShared ? address + t.block->shared.begin : address);
#endif
}
template <class T>
inline T read(const uint8_t* p) {
    T value;
    std::memcpy(&value, p, sizeof value);
    return value;
}
template <class T>
inline void write(uint8_t* p, T value) {
    std::memcpy(p, &value, sizeof value);
}

// cp.async. Both accesses are checked when it begins and again when it arrives: other threads may touch neither place
// between.
inline void copy_later(Thread& t, uint64_t to, uint64_t from, uint32_t bytes, int line) {
    at(t, Space::kShared, true, to, bytes, line);
    at(t, Space::kGlobal, false, from, bytes, line);
    t.copies.begin({to, from, bytes, line});
}
inline void wait_for_copies(Thread& t, size_t pending, int) {
    for (const Copy& c : t.copies.arrived(pending))
        std::memcpy(at(t, Space::kShared, true, c.to, c.bytes, c.line),
                    at(t, Space::kGlobal, false, c.from, c.bytes, c.line), c.bytes);
}

inline void acquire(Thread& t, uint64_t address) {
    const auto found = t.machine->memory.released.find(address);
    if (found != t.machine->memory.released.end()) join(t.acquired, found->second);
}
inline void release(Thread& t, uint64_t address) {
    Knowledge mine = t.block->known;
    join(mine, t.acquired);
    if (mine.size() <= t.block->number) mine.resize(t.block->number + 1);
    Known own;
    own.epoch = t.block->epoch;
    own.thread = t.tid;
    own.thread_epoch = t.block->epoch;
    own.releases = t.releases;
    mine[t.block->number].join(own);
    join(t.machine->memory.released[address], mine);
    ++t.releases;
}
inline uint8_t* synchronised(Thread& t, Space space, bool write, uint64_t address, size_t bytes, int line) {
    return check(t, space, write, true, address, bytes, line);
}

}  // namespace ptx

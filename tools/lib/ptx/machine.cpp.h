// The machine's own code, once per library: included by the translated file.
#pragma once

#include <exception>

#include "machine.h"

namespace ptx {

inline void start_fiber(unsigned high, unsigned low) {
    Thread& t = *reinterpret_cast<Thread*>(uint64_t{high} << 32 | low);
    t.machine->kernel_->entry(t, t.machine->parameters_.data());
    t.machine->yield(t, State::kDone, 0);
}

void Machine::fail(const Thread& t, int line, const char* format, ...) {
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    error = std::string(text) + "; block " + std::to_string(t.block->number) + ", thread " + std::to_string(t.tid) +
            ", line " + std::to_string(line);
    failed_ = true;
    _longjmp(scheduler_, 1);
}

uint8_t* check(Thread& t, Space space, bool write, bool synchronises, uint64_t address, size_t bytes, int line) {
    Machine& m = *t.machine;
    Block& b = *t.block;
    if (space == Space::kShared) {
        if (address + bytes > b.shared.end - b.shared.begin)
            m.fail(t, line, "shared memory ends at %zu, %zu bytes at %llu are asked for",
                   static_cast<size_t>(b.shared.end - b.shared.begin), bytes, static_cast<unsigned long long>(address));
        address += b.shared.begin;
    }
    if (address < 4096)
        m.fail(t, line, "%s at a null pointer (%llu)", write ? "a write" : "a read",
               static_cast<unsigned long long>(address));
    if (address % bytes)
        m.fail(t, line, "%zu bytes at an address that is %llu modulo %zu: misaligned", bytes,
               static_cast<unsigned long long>(address % bytes), bytes);
    uint8_t* const p = reinterpret_cast<uint8_t*>(address);
    const Who who = {t.tid, b.number, b.epoch, t.warp_epoch, t.releases, b.region, &b.known};
    const auto touch = [&](Window& window) {
        if (address + bytes > window.end)
            m.fail(t, line, "%zu bytes at %llu of '%s', which has %llu", bytes,
                   static_cast<unsigned long long>(address - window.begin), window.name.c_str(),
                   static_cast<unsigned long long>(window.end - window.begin));
        if (synchronises) return;
        if (t.acquired.empty()) {
            m.memory.touch(window, address, bytes, write, who, line);
        } else {  // between an acquire and the block's next barrier a thread knows more than its block
            Knowledge known = b.known;
            join(known, t.acquired);
            Who more = who;
            more.known = &known;
            m.memory.touch(window, address, bytes, write, more, line);
        }
    };
    if (b.shared.begin <= address && address < b.shared.end && (space == Space::kGeneric || space == Space::kShared)) {
        touch(b.shared);
        return p;
    }
    if (space != Space::kGlobal && t.stack <= p && p + bytes <= t.stack + kStackBytes) return p;
    if (!write && space != Space::kGlobal && m.parameters_begin() <= p &&
        p + bytes <= m.parameters_begin() + m.parameters_size())
        return p;
    if (space == Space::kGeneric || space == Space::kGlobal)
        if (Window* window = m.memory.find(address)) {
            touch(*window);
            return p;
        }
    m.fail(t, line, "%s of %zu bytes at %p, which is in no memory of the kernel", write ? "a write" : "a read", bytes,
           static_cast<void*>(p));
}

void Machine::resume(Thread& t) {
    if (_setjmp(scheduler_) != 0) {
        if (t.counts) t.counts->lane_yields();
        return;
    }
    t.state = State::kReady;
    if (t.started) _longjmp(t.context, 1);
    t.started = true;
    setcontext(&t.first);
}

void Machine::join_acquired(Block& block) {
    for (auto& t : block.threads) {
        if (!t->acquired.empty()) join(block.known, t->acquired);
        t->acquired.clear();
    }
}

void Machine::open_barrier(Block& block) {
    join_acquired(block);
    for (auto& t : block.threads)
        if (t->state == State::kAtBarrier) t->state = State::kReady;
    ++block.epoch;
    block.region = after_barrier(block.region);
    count_meeting(block);
}

// All threads of the block stand at one half of the cluster's barrier. True: they go on.
bool Machine::open_cluster(Block& block) {
    Cluster& cluster = *block.cluster;
    const bool arriving = block.threads[0]->state == State::kArriving;
    if (arriving) {
        join_acquired(block);
        ++block.epoch;
        Knowledge mine = block.known;
        if (mine.size() <= block.number) mine.resize(block.number + 1);
        mine[block.number].epoch = block.epoch;
        join(cluster.gathered, mine);
        block.meeting = cluster.meetings + 1;
        if (++cluster.arrived == cluster.blocks) {
            ++cluster.meetings;
            cluster.arrived = 0;
            cluster.known = cluster.gathered;
        }
    } else {
        if (cluster.meetings < block.meeting) return false;
        join(block.known, cluster.known);
    }
    ++block.region;
    for (auto& t : block.threads) t->state = State::kReady;
    count_meeting(block);
    return true;
}

void Machine::count_meeting(Block& block) {
    (void)block;
#ifdef PTX_COUNT
    const WarpCounts* most = nullptr;
    for (WarpCounts& warp : block.warps) {
        warp.warp_meets(counts);
        if (!most || warp.total() > most->total()) most = &warp;
    }
    for (int p = 0; p < counts.phases; ++p) counts.chain[p] += most->length[p];
    for (WarpCounts& warp : block.warps) warp.length.assign(counts.phases, 0);
    ++counts.barriers[block.threads[0]->phase];
#endif
}

void Machine::open_warps(Block& block) {
    for (size_t first = 0; first < block.threads.size(); first += 32) {
        size_t waiting = 0;
        const size_t last = std::min(first + 32, block.threads.size());
        for (size_t i = first; i < last; ++i) waiting += block.threads[i]->state == State::kAtWarp;
        if (waiting != last - first) continue;
        for (size_t i = first; i < last; ++i) block.threads[i]->state = State::kReady;
        if (!block.warps.empty()) block.warps[first / 32].warp_meets(counts);
    }
}

// Runs every thread that can run. True: something moved.
bool Machine::run_block(Block& block) {
    const size_t n = block.threads.size();
    bool moved = false;
    for (size_t i = 0; i < n && !failed_; ++i) {
        size_t at = i;
        if (order == 1) at = n - 1 - i;
        if (order == 2) at = i < n / 2 ? 2 * i + 1 : 2 * (i - n / 2);
        Thread& t = *block.threads[at];
        if (t.state != State::kReady && t.state != State::kSpinning) continue;
        moved = moved || t.state == State::kReady;
        resume(t);
    }
    if (failed_) return false;
    size_t done = 0, waiting = 0, arriving = 0, at_cluster = 0;
    for (auto& t : block.threads) {
        done += t->state == State::kDone;
        waiting += t->state == State::kAtBarrier;
        arriving += t->state == State::kArriving;
        at_cluster += t->state == State::kAtCluster;
    }
    block.done = done == n;
    if (arriving == n || at_cluster == n) {
        moved = open_cluster(block) || moved;
    } else if (waiting > 0 && done + waiting == n) {
        open_barrier(block);
        moved = true;
    } else if (block.done) {
        open_barrier(block);
    } else {
        open_warps(block);
        for (auto& t : block.threads) moved = moved || t->state == State::kReady;
    }
    return moved;
}

int Machine::launch(const Kernel& kernel, unsigned blocks_x, unsigned blocks_y, unsigned block_threads,
                    size_t shared_bytes, const void* parameters, unsigned cluster_blocks) {
    error.clear();
    failed_ = false;
    kernel_ = &kernel;
    grid_x = blocks_x;
    grid_y = blocks_y;
    threads = block_threads;
    parameters_.assign(static_cast<const uint8_t*>(parameters),
                       static_cast<const uint8_t*>(parameters) + kernel.parameter_bytes);
    const uint32_t n = blocks_x * blocks_y;
    memory.released.clear();
#ifdef PTX_CHECK
    for (Window& window : memory.windows) window.forget(n);
#endif
    std::vector<Block> blocks(n);
    std::vector<Cluster> clusters(n / cluster_blocks);
    for (Cluster& cluster : clusters) cluster.blocks = cluster_blocks;
    size_t used = 0;
    for (uint32_t i = 0; i < n; ++i) {
        Block& block = blocks[i];
        block.number = i;
        block.cluster = &clusters[i / cluster_blocks];
        block.x = i % blocks_x;
        block.y = i / blocks_x;
        block.known.resize(n);
        block.memory.assign(shared_bytes + 128, 0xFF);  // NaN: a kernel must not count on zeros
        block.shared.begin = (reinterpret_cast<uintptr_t>(block.memory.data()) + 127) & ~uintptr_t{127};
        block.shared.end = block.shared.begin + shared_bytes;
        block.shared.name = "shared memory";
        block.shared.shared = true;
#ifdef PTX_CHECK
        block.shared.forget(1);
#endif
#ifdef PTX_COUNT
        block.warps.resize((block_threads + 31) / 32);
        for (WarpCounts& warp : block.warps) warp.begin(counts);
#endif
        for (unsigned k = 0; k < block_threads; ++k) {
            block.threads.push_back(std::make_unique<Thread>());
            Thread& t = *block.threads.back();
            if (used == stacks_.size())
                stacks_.push_back(static_cast<uint8_t*>(mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                                                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)));
            t.stack = stacks_[used++];
            t.machine = this;
            t.block = &block;
            t.tid = k;
            if (!block.warps.empty()) t.counts = &block.warps[k / 32];
            getcontext(&t.first);
            t.first.uc_stack.ss_sp = t.stack;
            t.first.uc_stack.ss_size = kStackBytes;
            t.first.uc_link = nullptr;
            const uint64_t self = reinterpret_cast<uint64_t>(&t);
            makecontext(&t.first, reinterpret_cast<void (*)()>(start_fiber), 2, static_cast<unsigned>(self >> 32),
                        static_cast<unsigned>(self));
        }
    }
    uint32_t still = 0;  // rounds in which nothing but waiting happened
    for (bool all = false; !all && !failed_;) {
        all = true;
        bool moved = false;
        for (Block& block : blocks) {
            if (block.done) continue;
            moved = run_block(block) || moved;
            if (failed_) break;
            all = all && block.done;
        }
        still = moved ? 0 : still + 1;
        if (still > 1000) {
            std::map<int, int> waiting;
            for (Block& block : blocks)
                for (auto& t : block.threads)
                    if (t->state != State::kDone) ++waiting[t->stopped_at];
            error = "the threads wait for each other:";
            for (const auto& [line, count] : waiting)
                error += " " + std::to_string(count) + " at line " + std::to_string(line) + ",";
            error.pop_back();
            failed_ = true;
        }
    }
    return failed_ ? 1 : 0;
}

}  // namespace ptx

// ---- for Python (report.py), by ctypes -----------------------------------------------------------------------------
extern "C" {
void ptx_window(uintptr_t begin, uint64_t bytes, const char* name) {
    ptx::Machine::only().memory.add(begin, bytes, name);
}
void ptx_forget() {
    ptx::Memory& memory = ptx::Machine::only().memory;
    memory.windows.clear();
    memory.races.clear();
}
void ptx_settings(int skipped_barrier, int order) {
    ptx::Machine::only().skipped_barrier = skipped_barrier;
    ptx::Machine::only().order = order;
}
const char* ptx_error() { return ptx::Machine::only().error.c_str(); }
// A race per line: kind|window|offset|thread|block|line|other thread|other block|other line
const char* ptx_races() {
    static std::string text;
    text.clear();
    for (const auto& [_, r] : ptx::Machine::only().memory.races) {
        text += std::string(r.kind) + "|" + r.name + "|" + std::to_string(r.offset) + "|" + std::to_string(r.thread) +
                "|" + std::to_string(r.block) + "|" + std::to_string(r.line) + "|" + std::to_string(r.other_thread) +
                "|" + std::to_string(r.other_block) + "|" + std::to_string(r.other_line) + "\n";
    }
    return text.c_str();
}
uint64_t ptx_barrier_count(int line) {
    const auto& all = ptx::Machine::only().barriers;
    return line < static_cast<int>(all.size()) ? all[line] : 0;
}
void ptx_counts(uint64_t* issued, uint64_t* chain, uint64_t* barriers, int clear) {
    ptx::Counts& c = ptx::Machine::only().counts;
    std::copy(c.issued.begin(), c.issued.end(), issued);
    std::copy(c.chain.begin(), c.chain.end(), chain);
    std::copy(c.barriers.begin(), c.barriers.end(), barriers);
    if (clear) c.clear();
}
}

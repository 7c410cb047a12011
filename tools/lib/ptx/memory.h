// Memory as a kernel sees it: windows with bounds, and who touched each word when, so that races are found.
//
// Two accesses of one word, one of them a write, are a race unless something orders them: a barrier of the block, a
// barrier of the warp, or a chain of release and acquire between blocks. A block counts its releases to all (its epoch:
// barriers, arrivals at the cluster's barrier); a thread knows of other blocks the epochs that reached it through
// acquired words and the cluster's barrier. Inside a block regions count: see `Region`. Words are 4 bytes: neighbours
// of less than a word count as one.
#pragma once

#include <cstdint>
#include <cstdio>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace ptx {

enum class Space { kGeneric, kShared, kGlobal, kLocal, kParameter };

constexpr uint32_t kNobody = ~0u;

// Where a block's threads stand between its barriers. Even: outside the two halves of the cluster's barrier, odd:
// between them. What was done before the first half is ordered before what follows the second; what was done between
// them is ordered by the next barrier only.
using Region = uint32_t;
inline Region after_barrier(Region r) { return r + (r & 1 ? 4 : 2); }
inline bool is_before(Region earlier, Region later) { return later >= (earlier + 1) / 2 * 2 + 2; }

struct Write {
    uint32_t thread = kNobody, block = 0, epoch = 0, warp_epoch = 0, releases = 0;
    Region region = 0;
    int line = 0;
};
struct Read {  // of one block
    uint32_t thread = kNobody, epoch = 0, warp_epoch = 0, releases = 0;
    Region region = 0;
    bool others = false, other_warps = false;
    int line = 0;
};

struct Window {
    uintptr_t begin = 0, end = 0;
    std::string name;
    bool shared = false;
    uint32_t blocks = 1;        // whose reads are told apart
    std::vector<Write> writes;  // [words]
    std::vector<Read> reads;    // [words, blocks]

    void forget(uint32_t of_blocks) {
        const size_t words = (end - begin + 3) / 4;
        blocks = of_blocks;
        writes.assign(words, Write{});
        reads.assign(words * blocks, Read{});
    }
};

// What is known of other blocks: every access of epochs below `epoch`, and of one thread those up to its last release.
struct Known {
    uint32_t epoch = 0;
    uint32_t thread = kNobody, thread_epoch = 0, releases = 0;
    void join(const Known& other) {
        if (other.epoch > epoch) epoch = other.epoch;
        if (other.thread != kNobody &&
            (thread == kNobody || std::pair(other.thread_epoch, other.releases) > std::pair(thread_epoch, releases))) {
            thread = other.thread;
            thread_epoch = other.thread_epoch;
            releases = other.releases;
        }
    }
    bool covers(uint32_t by, uint32_t at, uint32_t its_releases) const {
        return at < epoch || (by == thread && std::pair(at, its_releases) <= std::pair(thread_epoch, releases));
    }
};
using Knowledge = std::vector<Known>;  // [blocks]

inline void join(Knowledge& into, const Knowledge& from) {
    if (into.size() < from.size()) into.resize(from.size());
    for (size_t i = 0; i < from.size(); ++i) into[i].join(from[i]);
}

// Who asks.
struct Who {
    uint32_t thread, block, epoch, warp_epoch, releases;
    Region region;
    const Knowledge* known;
};

struct Race {
    const char* kind;
    std::string name;  // of the window
    size_t offset;     // [bytes] in it
    uint32_t thread, block;
    int line;
    uint32_t other_thread, other_block;
    int other_line;
};

class Memory {
  public:
    std::vector<Window> windows;                // of global memory, in the order of addresses
    std::map<std::pair<int, int>, Race> races;  // the first of each pair of lines
    std::map<uintptr_t, Knowledge> released;    // by word

    void add(uintptr_t begin, size_t bytes, const char* name) {
        Window w;
        w.begin = begin;
        w.end = begin + bytes;
        w.name = name;
        auto at = windows.begin();
        while (at != windows.end() && at->begin < begin) ++at;
        windows.insert(at, std::move(w));
    }

    Window* find(uintptr_t address) {
        if (last_ < windows.size() && windows[last_].begin <= address && address < windows[last_].end)
            return &windows[last_];
        for (size_t i = 0; i < windows.size(); ++i)
            if (windows[i].begin <= address && address < windows[i].end) {
                last_ = i;
                return &windows[i];
            }
        return nullptr;
    }

    void touch(Window& window, uintptr_t address, size_t bytes, bool write, const Who& who, int line) {
        for (size_t word = (address - window.begin) / 4; word <= (address + bytes - 1 - window.begin) / 4; ++word)
            touch_word(window, word, write, who, line);
    }

  private:
    static bool ordered(const Who& who, uint32_t block, uint32_t thread, uint32_t epoch, uint32_t warp_epoch,
                        uint32_t releases, Region region) {
        if (block != who.block) return block < who.known->size() && (*who.known)[block].covers(thread, epoch, releases);
        if (thread == who.thread || is_before(region, who.region)) return true;
        return thread / 32 == who.thread / 32 && warp_epoch < who.warp_epoch;
    }

    void report(const char* kind, Window& window, size_t word, const Who& who, int line, uint32_t other_thread,
                uint32_t other_block, int other_line) {
        races.emplace(std::pair(line, other_line), Race{kind, window.name, 4 * word, who.thread, who.block, line,
                                                        other_thread, other_block, other_line});
    }

    void touch_word(Window& window, size_t word, bool write, const Who& who, int line) {
        Write& w = window.writes[word];
        if (w.thread != kNobody && !ordered(who, w.block, w.thread, w.epoch, w.warp_epoch, w.releases, w.region))
            report(write ? "write after write" : "read after write", window, word, who, line, w.thread, w.block,
                   w.line);
        Read* reads = &window.reads[word * window.blocks];
        const uint32_t own = window.shared ? 0 : who.block;
        if (!write) {
            Read& r = reads[own];
            const bool same_region = r.thread != kNobody && !is_before(r.region, who.region);
            if (!same_region || (r.thread / 32 == who.thread / 32 && !r.other_warps && r.warp_epoch < who.warp_epoch)) {
                r = {who.thread, who.epoch, who.warp_epoch, who.releases, who.region, false, false, line};
            } else {
                r.epoch = who.epoch;
                r.region = who.region;
                if (r.thread != who.thread) {
                    r.others = true;
                    if (r.thread / 32 != who.thread / 32) r.other_warps = true;
                }
            }
            return;
        }
        for (uint32_t b = 0; b < window.blocks; ++b) {
            Read& r = reads[b];
            if (r.thread == kNobody) continue;
            const uint32_t block = window.shared ? who.block : b;
            bool fine;
            if (block != who.block)
                fine = block < who.known->size() &&
                       (*who.known)[block].covers(r.others ? kNobody : r.thread, r.epoch, r.releases);
            else if (is_before(r.region, who.region))
                fine = true;
            else if (r.other_warps)
                fine = false;
            else if (r.others)
                fine = r.thread / 32 == who.thread / 32 && r.warp_epoch < who.warp_epoch;
            else
                fine = ordered(who, block, r.thread, r.epoch, r.warp_epoch, r.releases, r.region);
            if (!fine) report("write after read", window, word, who, line, r.thread, block, r.line);
            r = Read{};
        }
        w = {who.thread, who.block, who.epoch, who.warp_epoch, who.releases, who.region, line};
    }

    size_t last_ = 0;
};

}  // namespace ptx

// Instructions that warps issue. A thread counts how often it enters each basic block; a warp issues a block as often
// as the lane that needed it most, between two places where its lanes meet. The critical chain adds, over the barriers
// of a block, the instructions of the warp that had the most.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace ptx {

struct Counts {
    int phases = 0, blocks = 0, kinds = 0;  // basic blocks
    const uint16_t* of_block = nullptr;     // [blocks, kinds]
    std::vector<uint64_t> issued;           // [phases, kinds]
    std::vector<uint64_t> chain, barriers;  // [phases]
    std::vector<uint64_t> length_of_block;  // [blocks]

    void begin(int n_phases, int n_blocks, int n_kinds, const uint16_t* table) {
        phases = n_phases;
        blocks = n_blocks;
        kinds = n_kinds;
        of_block = table;
        length_of_block.assign(blocks, 0);
        for (int b = 0; b < blocks; ++b)
            for (int k = 0; k < kinds; ++k) length_of_block[b] += table[b * kinds + k];
        clear();
    }
    void clear() {
        issued.assign(size_t(phases) * kinds, 0);
        chain.assign(phases, 0);
        barriers.assign(phases, 0);
    }
};

// Of one warp, since its block's last barrier. One lane runs at a time: `lane` belongs to it until it yields.
class WarpCounts {
  public:
    void begin(const Counts& all) {
        lane_.assign(size_t(all.phases) * all.blocks, 0);
        most_.assign(lane_.size(), 0);
        length.assign(all.phases, 0);
    }
    void enter(uint32_t at) {
        if (lane_[at]++ == 0) touched_.push_back(at);
    }
    void lane_yields() {
        for (uint32_t at : touched_) {
            if (most_[at] == 0) seen_.push_back(at);
            most_[at] = std::max(most_[at], lane_[at]);
            lane_[at] = 0;
        }
        touched_.clear();
    }
    void warp_meets(Counts& all) {
        for (uint32_t at : seen_) {
            const uint32_t phase = at / all.blocks, block = at % all.blocks;
            for (int k = 0; k < all.kinds; ++k)
                all.issued[phase * all.kinds + k] += uint64_t{most_[at]} * all.of_block[block * all.kinds + k];
            length[phase] += most_[at] * all.length_of_block[block];
            most_[at] = 0;
        }
        seen_.clear();
    }
    uint64_t total() const {
        uint64_t sum = 0;
        for (uint64_t n : length) sum += n;
        return sum;
    }
    std::vector<uint64_t> length;  // [phases]

  private:
    std::vector<uint32_t> lane_, most_, touched_, seen_;
};

}  // namespace ptx

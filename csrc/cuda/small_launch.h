// How an ensemble's small members are launched: blocks and warps, by what a step would cost. Plain host arithmetic.
#pragma once

#include "small_plan.h"

namespace regkd {
namespace cuda {

// The launch of an ensemble's small members: `blocks` each, in a cluster or not, with `warps` that work on tiles. Sizes
// are the largest over them.
struct SmallPlan {
    int32_t members, blocks, warps, threads, shared_bytes, clustered;
    int32_t one_floats, warp_floats;  // of shared memory, for a block of one warp and for each further warp
    int32_t tiles, groups;
    int64_t grad_floats, member_bytes;  // as in Plan
};

inline void add_small(SmallPlan& p, const Job& job) {
    Places student, teacher;
    REGKD_LEVEL::Arena at;
    const SmallSize size = small_size(job, student, teacher, at);
    const SmallCut cut = small_cut(job);
    const auto raise = [](auto& most, auto n) { most = n > most ? n : most; };
    ++p.members;
    raise(p.one_floats, size.arena + size.each);
    raise(p.warp_floats, size.each);
    raise(p.grad_floats, round_up(dense_count(job.student), 32));
    raise(p.tiles, cut.tiles);
    raise(p.groups, cut.groups);
}

// What the small path needs to know of a device.
struct SmallDevice {
    int64_t shared_bytes;  // of a block
    int32_t multiprocessors;
    bool cooperative;
    int32_t cluster;  // blocks of the largest one, 1: none
    int32_t warps;    // that fill a multiprocessor's registers
};

// Blocks per member and warps per block that make a step shortest: tiles that a warp works on one after the other, each
// the longer the more than 16 warps share a multiprocessor, and what the meetings of several blocks cost, 0.3 of a tile
// in a cluster and 0.5 through global memory (about what an H100 took). Of equals the most blocks that have a place at
// once. `threads` 0: as many as the tiles need, at least 8 warps, which share out the parameters.
// `launched`: members of the launch, those of the other path among them.
inline void plan_small_blocks(SmallPlan& p, int32_t launched, const SmallDevice& device, int threads) {
    double least = 1e30;
    const int most = threads ? threads / kWarp : kSmallWarps;
    for (int32_t blocks = 1; blocks <= p.groups; ++blocks) {
        const bool clustered = blocks > 1 && blocks <= device.cluster;
        const int64_t all = static_cast<int64_t>(blocks) * p.members;
        for (int32_t warps = 1; warps <= most; ++warps) {
            const int64_t bytes =
                4 * (static_cast<int64_t>(p.one_floats) + static_cast<int64_t>(warps - 1) * p.warp_floats);
            if (bytes > device.shared_bytes) break;
            const int32_t in_all = threads ? most : (warps > 8 ? warps : 8);
            int64_t together = device.shared_bytes / bytes;  // blocks on a multiprocessor
            if (together > device.warps / in_all) together = device.warps / in_all < 1 ? 1 : device.warps / in_all;
            if (blocks > 1 && !clustered &&
                (!device.cooperative || int64_t{blocks} * launched > together * device.multiprocessors))
                continue;
            const int64_t each = (all + device.multiprocessors - 1) / device.multiprocessors;
            if (each < together) together = each;
            const double rounds = (p.groups + blocks * warps - 1) / (blocks * warps);
            const double waves = static_cast<double>((each + together - 1) / together);
            const double crowd = static_cast<double>(together * warps) / 16.0;
            const double meetings = blocks == 1 ? 0.0 : (clustered ? 0.3 : 0.5);
            const double cost = waves * (rounds * (crowd > 1.0 ? crowd : 1.0) + meetings);
            // No more warps than needed, and no more blocks where not all have a place at once.
            if (cost > least || (cost == least && (blocks == p.blocks || waves > 1.0))) continue;
            least = cost;
            p.blocks = blocks;
            p.warps = warps;
            p.threads = in_all * kWarp;
            p.clustered = clustered;
            p.shared_bytes = static_cast<int32_t>(bytes);
        }
    }
    p.member_bytes =
        128 + round_up(static_cast<int64_t>(p.tiles) * 32, 128) + round_up(4 * p.grad_floats * p.groups, 128);
}

}  // namespace cuda
}  // namespace regkd

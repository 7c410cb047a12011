// Training steps on the device: the jobs of an ensemble, many steps a launch.
#pragma once

#include "plan.h"

namespace regkd {
namespace cuda {

struct TrainCall {
    const Job* jobs;           // [members] in device memory; null: one member, whose job travels with the launch
    unsigned char* workspace;  // plan.workspace_bytes, zeroed before its first use
    Plan plan;
    int32_t steps;
    int64_t offset;                 // the call's first step is job.first_step + offset (+ *step_on_device)
    const int64_t* step_on_device;  // null: 0. A captured graph moves on by changing it
    Job job;                        // read where `jobs` is null: no copy to the device, so fit for a captured graph
    bool first_row;                 // losses are written from the table's first row on, not from that of the step
};
static_assert(sizeof(TrainCall) <= 4096, "kernel parameters");

// Why the device cannot run these jobs, or null. Static text.
const char* refuse(const Job* jobs, int32_t members, int64_t shared_limit);

// Blocks of this shape that the current device holds at once, 0 when not even one fits; without cooperative launches at
// most 1.
Status resident_blocks(const Plan& plan, int32_t multiprocessors, bool cooperative, int64_t* blocks);

// The largest cluster of the small path's blocks; 1 where device or code has none.
Status small_cluster(int64_t shared_bytes, int32_t* blocks);

Status train(const TrainCall& call, Stream stream);

// The launch of the small members, a part of `train`.
Status train_small(const TrainCall& call, Stream stream);

}  // namespace cuda
}  // namespace regkd

// Threads that stay, and a barrier that spins shortly before it sleeps.
#pragma once

#include <cstdint>

namespace regkd {

struct Barrier {
    int32_t threads;
    int32_t arrived;
    int32_t generation;
};

void wait_at(Barrier* barrier);

// How many CPUs this process may use.
int usable_cpus();

// Runs f(context, i) for i = 0 .. threads - 1, i = 0 on the caller. If the pool is busy with another caller's work, or
// a thread cannot be started, fewer threads run: f is told how many through `granted`, called once before any f.
using Work = void (*)(void* context, int thread);
using Granted = void (*)(void* context, int threads);
void run_on_pool(int threads, Granted granted, Work work, void* context);

}  // namespace regkd

#include "pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace regkd {
namespace {

inline void pause_cpu() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// About 20 microseconds of spinning: longer than the difference between two threads' shares of a step, shorter than
// what a time slice costs when the other thread is not running at all.
constexpr int kSpins = 2000;

struct Pool {
    std::mutex busy;  // held while a caller uses the pool
    std::mutex lock;
    std::condition_variable wake, done;
    std::vector<std::thread> workers;
    Work work = nullptr;
    void* context = nullptr;
    int wanted = 0;  // workers that take part in the current piece of work
    int running = 0;
    uint64_t number = 0;
    bool quit = false;

    void loop(int index, uint64_t seen) {
        std::unique_lock<std::mutex> hold(lock);
        for (;;) {
            wake.wait(hold, [&] { return quit || number != seen; });
            if (quit) return;
            seen = number;
            if (index > wanted) continue;
            const Work f = work;
            void* c = context;
            hold.unlock();
            f(c, index);
            hold.lock();
            if (--running == 0) done.notify_one();
        }
    }
    ~Pool() {
        {
            std::lock_guard<std::mutex> hold(lock);
            quit = true;
        }
        wake.notify_all();
        for (auto& t : workers) t.join();
    }
};

Pool* current = nullptr;
std::mutex creation;

// A forked child has none of the parent's threads: it forgets the pool (and leaks it) and makes its own when needed.
void forget_pool() {
    current = nullptr;
    new (&creation) std::mutex;
}

Pool* pool() {
    std::lock_guard<std::mutex> hold(creation);
    if (!current) {
        static bool registered = false;
        if (!registered) {
            pthread_atfork(nullptr, nullptr, forget_pool);
            registered = true;
        }
        static struct Owner {
            ~Owner() {
                delete current;
                current = nullptr;
            }
        } owner;
        current = new Pool;
    }
    return current;
}

}  // namespace

void wait_at(Barrier* barrier) {
    const int32_t generation = __atomic_load_n(&barrier->generation, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&barrier->arrived, 1, __ATOMIC_ACQ_REL) == barrier->threads) {
        __atomic_store_n(&barrier->arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&barrier->generation, generation + 1, __ATOMIC_RELEASE);
        syscall(SYS_futex, &barrier->generation, FUTEX_WAKE_PRIVATE, INT32_MAX, nullptr, nullptr, 0);
        return;
    }
    for (int i = 0; i < kSpins; ++i) {
        if (__atomic_load_n(&barrier->generation, __ATOMIC_ACQUIRE) != generation) return;
        pause_cpu();
    }
    while (__atomic_load_n(&barrier->generation, __ATOMIC_ACQUIRE) == generation)
        syscall(SYS_futex, &barrier->generation, FUTEX_WAIT_PRIVATE, generation, nullptr, nullptr, 0);
}

int usable_cpus() {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
    const unsigned n = std::thread::hardware_concurrency();
    return n ? static_cast<int>(n) : 1;
}

void run_on_pool(int threads, Granted granted, Work work, void* context) {
    Pool* p = threads > 1 ? pool() : nullptr;
    std::unique_lock<std::mutex> use;
    if (p) use = std::unique_lock<std::mutex>(p->busy, std::try_to_lock);
    if (!p || !use.owns_lock()) {
        granted(context, 1);
        work(context, 0);
        return;
    }
    {
        std::lock_guard<std::mutex> hold(p->lock);
        while (static_cast<int>(p->workers.size()) < threads - 1) {
            const int index = static_cast<int>(p->workers.size()) + 1;
            try {
                p->workers.emplace_back([p, index, seen = p->number] { p->loop(index, seen); });
            } catch (const std::system_error&) {
                break;  // no more threads can be started: continue with those that run
            }
        }
        const int extra =
            static_cast<int>(p->workers.size()) < threads - 1 ? static_cast<int>(p->workers.size()) : threads - 1;
        granted(context, extra + 1);
        p->work = work;
        p->context = context;
        p->wanted = extra;
        p->running = extra;
        ++p->number;
    }
    p->wake.notify_all();
    work(context, 0);
    std::unique_lock<std::mutex> hold(p->lock);
    p->done.wait(hold, [&] { return p->running == 0; });
}

}  // namespace regkd

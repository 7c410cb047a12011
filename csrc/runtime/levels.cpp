// Choosing an instruction set when an engine is loaded; compiled for the plain architecture.
#include "levels.h"

#include <cstring>

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace regkd {
namespace runtime {

namespace {

struct Level {
    const Kernels* kernels;
    bool (*here)();
};

#if defined(__x86_64__)
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx512() {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
bool has_avx512_vnni() { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }
const Level kLevels[] = {
    {&runtime_avx512_vnni::kKernels, has_avx512_vnni},
    {&runtime_avx512::kKernels, has_avx512},
    {&runtime_avx2::kKernels, has_avx2},
    {&runtime_sse2::kKernels, [] { return true; }},
};
#else
bool has_dotprod() {
#if defined(__linux__) && defined(HWCAP_ASIMDDP)
    return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
#else
    return false;
#endif
}
const Level kLevels[] = {
    {&runtime_neon_dotprod::kKernels, has_dotprod},
    {&runtime_neon::kKernels, [] { return true; }},
};
#endif

}  // namespace

const Kernels* find_kernels(const char* level) {
    for (const Level& candidate : kLevels)
        if ((!level || std::strcmp(level, candidate.kernels->level) == 0) && candidate.here()) return candidate.kernels;
    return nullptr;
}

}  // namespace runtime
}  // namespace regkd

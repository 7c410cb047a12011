#include <cstdlib>
#include <stdexcept>

#include "runtime.h"

#define REGKD_LEVELS_X86 REGKD_ONE(v2) REGKD_ONE(v3) REGKD_ONE(v4)
#if defined(__x86_64__)
#define REGKD_LEVELS REGKD_LEVELS_X86
#else
#define REGKD_LEVELS REGKD_ONE(neon)
#endif

#define REGKD_ONE(name) extern "C" const regkd::Kernels* regkd_kernels_##name();
REGKD_LEVELS
#undef REGKD_ONE

namespace regkd {
namespace {

bool runs(const std::string& level) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
    const bool v3 =
        v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vl");
    return level == "v2" ? v2 : (level == "v3" ? v3 : v4);
#else
    return level == "neon";
#endif
}

std::vector<const Kernels*> all_kernels() {
    std::vector<const Kernels*> found;
#define REGKD_ONE(name) \
    if (runs(#name)) found.push_back(regkd_kernels_##name());
    REGKD_LEVELS
#undef REGKD_ONE
    return found;
}

}  // namespace

std::vector<std::string> available_levels() {
    std::vector<std::string> names;
    for (const Kernels* k : all_kernels()) names.push_back(k->level);
    return names;
}

const Kernels& kernels(const std::string& level) {
    if (level.empty()) return kernels();
    for (const Kernels* k : all_kernels())
        if (level == k->level) return *k;
    std::string known;
    for (const std::string& name : available_levels()) known += (known.empty() ? "" : ", ") + name;
    throw std::runtime_error("SIMD level '" + level + "' is not available on this CPU; available: " + known);
}

const Kernels& kernels() {
    const char* wanted = std::getenv("REGKD_EDGE_SIMD");
    if (wanted && *wanted) return kernels(std::string(wanted));
    static const Kernels* widest = all_kernels().back();
    return *widest;
}

}  // namespace regkd

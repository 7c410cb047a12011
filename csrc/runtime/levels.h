// The instruction sets that this build holds, best first. REGKD_LEVELS comes from CMakeLists.txt.
#pragma once

#include "kernels.h"

namespace regkd {
#define REGKD_LEVEL_OF(name)                \
    namespace name {                        \
    extern const runtime::Kernels kKernels; \
    }
#if defined(__x86_64__)
REGKD_LEVEL_OF(runtime_sse2)
REGKD_LEVEL_OF(runtime_avx2)
REGKD_LEVEL_OF(runtime_avx512)
REGKD_LEVEL_OF(runtime_avx512_vnni)
#else
REGKD_LEVEL_OF(runtime_neon)
REGKD_LEVEL_OF(runtime_neon_dotprod)
#endif
#undef REGKD_LEVEL_OF
}  // namespace regkd

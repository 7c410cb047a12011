#include "backend.h"

namespace regkd {
namespace runtime {
#if !defined(REGKD_HAS_TENSORRT)
Status load_tensorrt(const unsigned char*, size_t, const Options&, std::unique_ptr<Engine::Backend>&) {
    return Status(StatusCode::kUnsupported, "this library was built without TensorRT. Build it where TensorRT is installed, or load a native engine.");
}
#endif
}  // namespace runtime
}  // namespace regkd

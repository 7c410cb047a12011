// What a back end of the library implements.
#pragma once

#include <string>
#include <vector>

#include "regkd/engine.h"

namespace regkd {

class Engine::Backend {
  public:
    virtual ~Backend() = default;
    virtual Status infer(const float* x, size_t rows, float* y) noexcept = 0;
    size_t inputs = 0, outputs = 0;
    std::vector<std::string> names;  // [inputs + outputs] or empty
    const char* name = "";
    const char* level = "";
};

namespace runtime {
// May throw std::bad_alloc, which Engine::load turns into a status.
Status load_native(const unsigned char* bytes, size_t size, const Options& options,
                   std::unique_ptr<Engine::Backend>& backend);
Status load_tensorrt(const unsigned char* bytes, size_t size, const Options& options,
                     std::unique_ptr<Engine::Backend>& backend);
}  // namespace runtime

}  // namespace regkd

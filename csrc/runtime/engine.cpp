#include "regkd/engine.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string>

#include "backend.h"
#include "folder.h"
#include "format.h"

namespace regkd {

Status::Status(StatusCode code, const char* format, ...) noexcept : code_(code) {
    va_list values;
    va_start(values, format);
    std::vsnprintf(message_, sizeof message_, format, values);
    va_end(values);
}

Engine::Engine() noexcept = default;
Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;

namespace {

// Nothing thrown inside reaches the caller.
template <class F>
Status guarded(F f) noexcept {
    try {
        return f();
    } catch (const std::bad_alloc&) {
        return Status(StatusCode::kOutOfMemory, "there is not enough memory for the engine.");
    } catch (const std::exception& error) {
        return Status(StatusCode::kDeviceError, "%s", error.what());
    }
}

bool is_native(const unsigned char* bytes, size_t size) {
    return size >= sizeof runtime::kMagic && std::memcmp(bytes, runtime::kMagic, sizeof runtime::kMagic) == 0;
}

}  // namespace

Status Engine::load(const char* path, Engine& engine, const Options& options) noexcept {
    if (!path) return Status(StatusCode::kInvalidArgument, "the path is null.");
    return guarded([&]() -> Status {
        runtime::EngineFile file;
        const Status status = runtime::read_engine(path, file);
        if (!status.ok()) return status;
        const unsigned char* bytes = reinterpret_cast<const unsigned char*>(file.bytes.data());
        std::unique_ptr<Backend> backend;
        Status loaded;
        if (file.backend == "tensorrt")
            loaded = runtime::load_tensorrt(bytes, file.bytes.size(), options, backend);
        else if (file.backend == "native")
            loaded = runtime::load_native(bytes, file.bytes.size(), options, backend);
        else
            return Status(StatusCode::kUnsupported, "'%s' is an engine of '%s', this library runs native and tensorrt.",
                          path, file.backend.c_str());
        if (!loaded.ok()) return Status(loaded.code(), "'%s': %s", path, loaded.message());
        engine.backend_ = std::move(backend);
        return {};
    });
}

Status Engine::load(const void* bytes, size_t size, Engine& engine, const Options& options) noexcept {
    if (!bytes) return Status(StatusCode::kInvalidArgument, "the bytes of the engine are null.");
    if (!is_native(static_cast<const unsigned char*>(bytes), size))
        return Status(StatusCode::kCorrupt, "the bytes do not start as a native engine does.");
    return guarded([&] {
        std::unique_ptr<Backend> backend;
        const Status status = runtime::load_native(static_cast<const unsigned char*>(bytes), size, options, backend);
        if (status.ok()) engine.backend_ = std::move(backend);
        return status;
    });
}

Status Engine::infer(const float* x, size_t rows, float* y) noexcept {
    if (!backend_) return Status(StatusCode::kInvalidArgument, "no engine is loaded.");
    if (rows && (!x || !y)) return Status(StatusCode::kInvalidArgument, "the %s are null.", x ? "outputs" : "inputs");
    return backend_->infer(x, rows, y);
}

size_t Engine::inputs() const noexcept { return backend_ ? backend_->inputs : 0; }
size_t Engine::outputs() const noexcept { return backend_ ? backend_->outputs : 0; }
const char* Engine::backend() const noexcept { return backend_ ? backend_->name : ""; }
const char* Engine::level() const noexcept { return backend_ ? backend_->level : ""; }
const char* Engine::input_name(size_t index) const noexcept {
    return backend_ && index < backend_->inputs && !backend_->names.empty() ? backend_->names[index].c_str() : "";
}
const char* Engine::output_name(size_t index) const noexcept {
    return backend_ && index < backend_->outputs && !backend_->names.empty()
               ? backend_->names[backend_->inputs + index].c_str()
               : "";
}

}  // namespace regkd

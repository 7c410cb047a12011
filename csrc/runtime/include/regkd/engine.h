// regkd_runtime: run an engine of regkd-edge from C++.
//
//   regkd::Engine engine;
//   regkd::Status status = regkd::Engine::load("engines/native.int8", engine);
//   float x[13] = {...}, y[1];
//   if (status.ok()) status = engine.infer(x, 1, y);
//   if (!status.ok()) std::fprintf(stderr, "%s\n", status.message());
//
// Inputs and outputs are in raw units: the scalers are inside the engine. No function throws. Engines are independent
// of each other: any number of threads may run one each. One engine serves one thread at a time.
#pragma once

#include <cstddef>
#include <memory>

namespace regkd {

enum class StatusCode {
    kOk,
    kNotFound,         // no such file or folder
    kCorrupt,          // a file that is damaged, truncated or not what its manifest describes
    kUnsupported,      // a back end or a format version that this build does not have
    kInvalidArgument,  // a null pointer, an unknown option
    kNotFinite,        // an input that is NaN or infinite
    kNoDevice,         // TensorRT without a GPU
    kDeviceError,      // the GPU or its library failed
    kOutOfMemory,
};

// The result of a call: a code and, when it is not kOk, a sentence with the value met and the value expected.
class Status {
  public:
    Status() noexcept : code_(StatusCode::kOk) { message_[0] = 0; }
    Status(StatusCode code, const char* format, ...) noexcept __attribute__((format(printf, 3, 4)));
    bool ok() const noexcept { return code_ == StatusCode::kOk; }
    StatusCode code() const noexcept { return code_; }
    const char* message() const noexcept { return message_; }

  private:
    StatusCode code_;
    char message_[240];  // in place: reporting an error needs no memory
};

struct Options {
    // Native back end: instruction set to use, as Engine::level() names it; null takes the best of this processor.
    const char* level = nullptr;
    // TensorRT back end: load a version-compatible engine. Such a file brings code of its own, which then runs here.
    bool allow_engine_code = false;
};

class Engine {
  public:
    Engine() noexcept;
    ~Engine();
    Engine(Engine&&) noexcept;
    Engine& operator=(Engine&&) noexcept;

    // Load a folder that `regkd-edge build` wrote (its manifest names the back end; the SHA-256 of the engine file is
    // checked before anything else is done with it), or a single file of the native back end.
    static Status load(const char* path, Engine& engine, const Options& options = {}) noexcept;

    // Load a native engine file that is in memory already; the bytes are copied.
    static Status load(const void* bytes, std::size_t size, Engine& engine, const Options& options = {}) noexcept;

    // Answer `rows` requests and return when the answers are in `y`. The native back end allocates nothing here.
    Status infer(const float* x,  // [rows, inputs()] raw units
                 std::size_t rows,
                 float* y  // [rows, outputs()] raw units
                 ) noexcept;

    bool loaded() const noexcept { return backend_ != nullptr; }
    std::size_t inputs() const noexcept;                       // d, 0 when nothing is loaded
    std::size_t outputs() const noexcept;                      // o
    const char* input_name(std::size_t index) const noexcept;  // "" when the file names none
    const char* output_name(std::size_t index) const noexcept;
    const char* backend() const noexcept;  // "native" or "tensorrt"
    const char* level()
        const noexcept;  // instruction set in use: "avx512-vnni", "avx512", "avx2", "sse2", "neon-dotprod", "neon"

    class Backend;  // what a back end implements; not part of the interface

  private:
    std::unique_ptr<Backend> backend_;
};

}  // namespace regkd

// The TensorRT back end, for TensorRT 10.3 to 11: an engine with one input [batch, d] and one output [batch, o] in
// float32. Compiled where TensorRT's headers are found; elsewhere load_tensorrt says that it is absent.
#include "backend.h"

#if defined(REGKD_HAS_TENSORRT)

#include <NvInferRuntime.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstring>
#include <mutex>

#if NV_TENSORRT_MAJOR < 10 || (NV_TENSORRT_MAJOR == 10 && NV_TENSORRT_MINOR < 3)
#error "regkd_runtime needs TensorRT 10.3 or newer; configure with REGKD_RUNTIME_TENSORRT=OFF"
#endif

namespace regkd {
namespace runtime {

namespace {

// TensorRT reports its reasons through a logger; the last error becomes the text of the status.
class Logger final : public nvinfer1::ILogger {
  public:
    void log(Severity severity, const char* message) noexcept override {
        if (severity > Severity::kERROR) return;
        const std::lock_guard<std::mutex> lock(mutex_);
        std::strncpy(last_, message, sizeof last_ - 1);
    }
    const char* last() const noexcept { return *last_ ? last_ : "TensorRT gave no reason"; }

  private:
    std::mutex mutex_;  // TensorRT may log from threads of its own
    char last_[160] = {};
};

Status cuda_failed(const char* what, cudaError_t error) {
    return Status(StatusCode::kDeviceError, "%s failed: %s.", what, cudaGetErrorString(error));
}

// Looked for before any runtime is made: without a device TensorRT crashes on some files where it should refuse them.
Status find_device() {
    int driver = 0, count = 0;
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
        return Status(StatusCode::kNoDevice, "there is no NVIDIA driver on this machine.");
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess || count == 0)
        return Status(StatusCode::kNoDevice, "there is no usable GPU (%s; driver for CUDA %d.%d).",
                      error == cudaSuccess ? "none found" : cudaGetErrorString(error), driver / 1000,
                      driver % 1000 / 10);
    return {};
}

class TensorRT final : public Engine::Backend {
  public:
    ~TensorRT() override {
        // In this order: a context outlives neither its engine nor an engine its runtime.
        context_.reset();
        engine_.reset();
        runtime_.reset();
        cudaFree(device_in_);
        cudaFree(device_out_);
        cudaFreeHost(host_in_);
        cudaFreeHost(host_out_);
        if (stream_) cudaStreamDestroy(stream_);
    }

    Status open(const unsigned char* bytes, size_t size, const Options& options) {
        name = "tensorrt";
        level = "gpu";
        const Status found = find_device();
        if (!found.ok()) return found;
        runtime_.reset(nvinfer1::createInferRuntime(logger_));
        if (!runtime_)
            return Status(StatusCode::kDeviceError, "TensorRT %d.%d makes no runtime: %s.", NV_TENSORRT_MAJOR,
                          NV_TENSORRT_MINOR, logger_.last());
        if (options.allow_engine_code) runtime_->setEngineHostCodeAllowed(true);
        engine_.reset(runtime_->deserializeCudaEngine(bytes, size));
        if (!engine_)
            return Status(StatusCode::kUnsupported,
                          "TensorRT %d.%d does not load the engine: %s. Build it on this device.", NV_TENSORRT_MAJOR,
                          NV_TENSORRT_MINOR, logger_.last());
        context_.reset(engine_->createExecutionContext());
        if (!context_)
            return Status(StatusCode::kDeviceError, "the engine has no execution context: %s.", logger_.last());
        const Status read = read_tensors();
        return read.ok() ? allocate() : read;
    }

    Status infer(const float* x, size_t rows, float* y) noexcept override {
        for (size_t done = 0; done < rows;) {
            const size_t part = std::min(rows - done, max_batch_);
            const Status status = request(x + done * inputs, part, y + done * outputs);
            if (!status.ok()) return status;
            done += part;
        }
        return {};
    }

  private:
    Status read_tensors() {
        for (int32_t i = 0; i < engine_->getNbIOTensors(); ++i) {
            const char* tensor = engine_->getIOTensorName(i);
            const bool in = engine_->getTensorIOMode(tensor) == nvinfer1::TensorIOMode::kINPUT;
            const nvinfer1::Dims shape = engine_->getTensorShape(tensor);
            if (engine_->getTensorDataType(tensor) != nvinfer1::DataType::kFLOAT || shape.nbDims != 2 ||
                shape.d[1] < 1 || (in ? input_ : output_))
                return Status(StatusCode::kUnsupported,
                              "tensor '%s' does not fit: expected one input and one output, each float32 [batch, n].",
                              tensor);
            if (in) {
                input_ = tensor;
                inputs = static_cast<size_t>(shape.d[1]);
                if (shape.d[0] >= 0) {
                    min_batch_ = max_batch_ = static_cast<size_t>(shape.d[0]);
                } else {
                    min_batch_ = static_cast<size_t>(
                        engine_->getProfileShape(tensor, 0, nvinfer1::OptProfileSelector::kMIN).d[0]);
                    max_batch_ = static_cast<size_t>(
                        engine_->getProfileShape(tensor, 0, nvinfer1::OptProfileSelector::kMAX).d[0]);
                }
            } else {
                output_ = tensor;
                outputs = static_cast<size_t>(shape.d[1]);
            }
        }
        if (!input_ || !output_ || max_batch_ < 1 || min_batch_ > max_batch_)
            return Status(StatusCode::kUnsupported, "the engine has no input or no output.");
        return {};
    }

    Status allocate() {
        const size_t in = sizeof(float) * max_batch_ * inputs, out = sizeof(float) * max_batch_ * outputs;
        cudaError_t error = cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking);
        if (error == cudaSuccess) error = cudaMalloc(&device_in_, in);
        if (error == cudaSuccess) error = cudaMalloc(&device_out_, out);
        if (error == cudaSuccess)
            error = cudaMallocHost(&host_in_, in);  // pinned: a copy from ordinary memory is staged once more
        if (error == cudaSuccess) error = cudaMallocHost(&host_out_, out);
        if (error != cudaSuccess) return cuda_failed("allocating the engine's buffers", error);
        std::memset(host_in_, 0, in);
        if (!context_->setTensorAddress(input_, device_in_) || !context_->setTensorAddress(output_, device_out_))
            return Status(StatusCode::kDeviceError, "the engine's buffers cannot be set: %s.", logger_.last());
        return {};
    }

    // One batch; fewer rows than the engine's least batch are filled up with those of earlier requests.
    Status request(const float* x, size_t rows, float* y) noexcept {
        const size_t batch = std::max(rows, min_batch_);
        if (batch != batch_) {
            if (!context_->setInputShape(input_,
                                         nvinfer1::Dims2(static_cast<int64_t>(batch), static_cast<int64_t>(inputs))))
                return Status(StatusCode::kDeviceError, "the engine does not take %zu rows: %s.", batch,
                              logger_.last());
            batch_ = batch;
        }
        std::memcpy(host_in_, x, sizeof(float) * rows * inputs);
        cudaError_t error =
            cudaMemcpyAsync(device_in_, host_in_, sizeof(float) * batch * inputs, cudaMemcpyHostToDevice, stream_);
        if (error != cudaSuccess) return cuda_failed("copying the inputs", error);
        if (!context_->enqueueV3(stream_))
            return Status(StatusCode::kDeviceError, "the engine failed: %s.", logger_.last());
        error =
            cudaMemcpyAsync(host_out_, device_out_, sizeof(float) * rows * outputs, cudaMemcpyDeviceToHost, stream_);
        if (error == cudaSuccess) error = cudaStreamSynchronize(stream_);
        if (error != cudaSuccess) return cuda_failed("running the engine", error);
        std::memcpy(y, host_out_, sizeof(float) * rows * outputs);
        return {};
    }

    Logger logger_;
    std::unique_ptr<nvinfer1::IRuntime> runtime_;
    std::unique_ptr<nvinfer1::ICudaEngine> engine_;
    std::unique_ptr<nvinfer1::IExecutionContext> context_;
    const char* input_ = nullptr;
    const char* output_ = nullptr;
    size_t min_batch_ = 1, max_batch_ = 1, batch_ = 0;
    void* device_in_ = nullptr;
    void* device_out_ = nullptr;
    void* host_in_ = nullptr;
    void* host_out_ = nullptr;
    cudaStream_t stream_ = nullptr;
};

}  // namespace

Status load_tensorrt(const unsigned char* bytes, size_t size, const Options& options,
                     std::unique_ptr<Engine::Backend>& backend) {
    std::unique_ptr<TensorRT> loaded(new TensorRT);
    const Status status = loaded->open(bytes, size, options);
    if (status.ok()) backend = std::move(loaded);
    return status;
}

}  // namespace runtime
}  // namespace regkd

#else

namespace regkd {
namespace runtime {
Status load_tensorrt(const unsigned char*, size_t, const Options&, std::unique_ptr<Engine::Backend>&) {
    return Status(
        StatusCode::kUnsupported,
        "this library was built without TensorRT. Build it where TensorRT is installed, or load a native engine.");
}
}  // namespace runtime
}  // namespace regkd

#endif

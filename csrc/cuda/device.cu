#include "device.h"

#include <cuda_runtime.h>

#include <map>
#include <mutex>
#include <stdexcept>

#ifndef REGKD_CUDA_ARCHITECTURES
#define REGKD_CUDA_ARCHITECTURES "unknown"
#endif

namespace regkd {
namespace cuda {

namespace {

std::string version(int v) { return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10); }

// cudart's own text for these ("driver version is insufficient", "no kernel image is available") names neither what is
// there nor what is missing.
std::string explain(cudaError_t status) {
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    switch (status) {
        case cudaErrorInsufficientDriver:
            if (driver == 0) return "no NVIDIA driver is installed on this machine";
            return "the NVIDIA driver supports CUDA " + version(driver) + ", this build needs CUDA " +
                   version(runtime) + "; update the driver, or build with an older CUDA toolkit";
        case cudaErrorNoDevice:
            return "the NVIDIA driver sees no device (CUDA_VISIBLE_DEVICES may hide it)";
        case cudaErrorNoKernelImageForDevice:
        case cudaErrorUnsupportedPtxVersion: {
            int index = 0, major = 0, minor = 0;
            cudaGetDevice(&index);
            cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index);
            cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index);
            return std::string("this build holds code for sm ") + compiled_architectures() + ", the device is sm_" +
                   std::to_string(10 * major + minor) +
                   "; build again with -DCMAKE_CUDA_ARCHITECTURES=" + std::to_string(10 * major + minor);
        }
        default:
            return std::string(cudaGetErrorString(status)) + " (" + cudaGetErrorName(status) + ")";
    }
}

}  // namespace

const char* compiled_architectures() { return REGKD_CUDA_ARCHITECTURES; }

int32_t device_count(std::string& why) {
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status == cudaSuccess && count > 0) return count;
    why = explain(status == cudaSuccess ? cudaErrorNoDevice : status);
    cudaGetLastError();  // a missing driver must not be reported by the next call too
    return 0;
}

void check(int status, const char* what) {
    if (status == cudaSuccess) return;
    cudaGetLastError();
    throw std::runtime_error(std::string(what) + ": " + explain(static_cast<cudaError_t>(status)));
}

int32_t current_device() {
    int index = 0;
    if (cudaGetDevice(&index) != cudaSuccess) {
        cudaGetLastError();
        return 0;
    }
    return index;
}

Device device(int32_t index) {
    std::string why;
    const int32_t count = device_count(why);
    if (count == 0) throw std::runtime_error(why);
    if (index < 0 || index >= count)
        throw std::runtime_error("CUDA device " + std::to_string(index) + " was requested and there are " +
                                 std::to_string(count));
    // Asked for once: the driver takes its time over them, and every single step makes a plan.
    static std::mutex lock;
    static std::map<int32_t, Device> known;
    const std::lock_guard<std::mutex> hold(lock);
    if (const auto found = known.find(index); found != known.end()) return found->second;
    cudaDeviceProp properties;
    check(cudaGetDeviceProperties(&properties, index), "reading the device's properties");
    Device d = {};
    d.index = index;
    d.major = properties.major;
    d.minor = properties.minor;
    d.multiprocessors = properties.multiProcessorCount;
    d.shared_bytes = static_cast<int32_t>(properties.sharedMemPerBlockOptin);
    int cooperative = 0;
    check(cudaDeviceGetAttribute(&cooperative, cudaDevAttrCooperativeLaunch, index), "reading the device's properties");
    d.cooperative = cooperative;
    d.name = properties.name;
    known[index] = d;
    return d;
}

OnDevice::OnDevice(int32_t index) : previous_(0) {
    check(cudaGetDevice(&previous_), "asking for the current device");
    if (previous_ != index) check(cudaSetDevice(index), "choosing the device");
    if (previous_ == index) previous_ = -1;
}
OnDevice::~OnDevice() {
    if (previous_ >= 0) cudaSetDevice(previous_);
}

}  // namespace cuda
}  // namespace regkd

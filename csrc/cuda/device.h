// What is known about the device, and CUDA's errors in words a user can act on. Host code.
#pragma once

#include <cstdint>
#include <string>

namespace regkd {
namespace cuda {

struct Device {
    int32_t index;
    int32_t major, minor;  // compute capability
    int32_t multiprocessors;
    int32_t shared_bytes;  // dynamic shared memory a block may opt in to
    int32_t cooperative;   // 1: cooperative launches work
    std::string name;
};

// Number of usable devices; 0 with the reason in `why`. Never throws.
int32_t device_count(std::string& why);

// Throws std::runtime_error with the reason.
Device device(int32_t index);

// The calling thread's device; 0 where there is none.
int32_t current_device();

// The architectures this file was compiled for, for example "75-virtual 80 86"; from the build.
const char* compiled_architectures();

// Throws std::runtime_error unless `status` is success: `what` names the operation, and the message the remedy.
void check(int status, const char* what);

// Makes `index` the calling thread's device for the lifetime, without creating work or waiting.
class OnDevice {
  public:
    explicit OnDevice(int32_t index);
    ~OnDevice();
    OnDevice(const OnDevice&) = delete;
    OnDevice& operator=(const OnDevice&) = delete;

  private:
    int previous_;
};

}  // namespace cuda
}  // namespace regkd

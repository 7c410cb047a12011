// The matching_loss kernel on host arrays as C functions, for the tests.
#include "../../csrc/cuda/matching_loss.cu"

using namespace regkd;

extern "C" {
int64_t workspace_bytes(int64_t n, int32_t outputs) { return cuda::loss_workspace_bytes(n, outputs); }

int matching_loss(const Job* constants, const float* student, const float* y, const float* t, int64_t n,
                  int32_t outputs, float* gradient, double* value, unsigned char* workspace) {
    return cuda::matching_loss({*constants, student, y, t, n, outputs, gradient, value, workspace}, nullptr);
}
}

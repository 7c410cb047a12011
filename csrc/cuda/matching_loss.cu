#include "matching_loss.h"

#include "block.h"

namespace regkd {
namespace cuda {

namespace {

constexpr int kLossBlocks = 512;  // most; a block walks over tiles
constexpr int kLossThreads = 64;
constexpr int64_t kLossShared = 48 * 1024;  // what every device gives without asking

REGKD_BOTH int64_t loss_blocks(int64_t n) {
    const int64_t tiles = (n + kTile - 1) / kTile;
    return tiles < kLossBlocks ? tiles : kLossBlocks;
}
REGKD_BOTH int64_t loss_floats(int32_t outputs) { return (4 * static_cast<int64_t>(outputs) + 6) * kTile; }
REGKD_BOTH bool loss_fits(int32_t outputs) { return 4 * loss_floats(outputs) <= kLossShared; }

}  // namespace

// A block takes 32 rows at a time into [outputs][32] buffers, as in a training step. The sums of blocks are added in
// their order by the block that finishes last, so the value has the same bits every time.
template <bool kShared>
__global__ void __launch_bounds__(kLossThreads) loss_kernel(LossCall call) {
    const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x), o = call.outputs;
    const DeviceBlock<kShared, 5> team = {5, false};
    const Job& k = call.constants;
    unsigned* arrived = reinterpret_cast<unsigned*>(call.workspace);
    double* sums = reinterpret_cast<double*>(call.workspace + 128);
    float* buffers =
        kShared ? block_shared() : reinterpret_cast<float*>(sums + kLossBlocks) + loss_floats(o) * blockIdx.x;
    float *student = buffers, *y = student + o * kTile, *t = y + o * kTile, *c = t + o * kTile, *loss = c + o * kTile;
    float* terms = loss + kTile;
    const REGKD_LEVEL::RowTerms row = {terms, terms + kTile, terms + 2 * kTile, terms + 3 * kTile, terms + 4 * kTile};

    double sum = 0.0;
    for (int64_t first = static_cast<int64_t>(blockIdx.x) * kTile; first < call.n;
         first += static_cast<int64_t>(gridDim.x) * kTile) {
        const int count = static_cast<int>(call.n - first < kTile ? call.n - first : kTile);
        for (int i = thread; i < o * kTile; i += threads) {  // neighbouring threads read neighbouring numbers
            const int s = i / o, j = i - s * o;
            const int64_t from = (first + (s < count ? s : 0)) * o + j;
            student[j * kTile + s] = call.student[from];
            if (call.y) y[j * kTile + s] = call.y[from];
            if (call.t) t[j * kTile + s] = call.t[from];
        }
        team.lanes([&](int s) {
            const int64_t i = first + (s < count ? s : 0);
            terms[s] = s < count ? (k.row_weight ? k.row_weight[i] : 1.0f) : 0.0f;
            terms[kTile + s] = k.row_a ? k.row_a[i] : k.base_a;
            terms[2 * kTile + s] = k.row_b ? k.row_b[i] : k.base_b;
            terms[3 * kTile + s] = k.row_error ? k.row_error[i] : 0.0f;
            terms[4 * kTile + s] = k.row_outlier ? k.row_outlier[i] : 0.0f;
            loss[s] = 0.0f;
        });
        barrier();
        REGKD_LEVEL::base_loss(team, REGKD_LEVEL::base_constants(k), o, student, call.y ? y : nullptr,
                               call.t ? t : nullptr, row, 1.0f / static_cast<float>(call.n), c, loss);
        barrier();
        if (thread == 0)
            for (int s = 0; s < count; ++s) sum += static_cast<double>(loss[s]);
        if (call.gradient)
            for (int i = thread; i < o * count; i += threads) {
                const int s = i / o, j = i - s * o;
                call.gradient[(first + s) * o + j] = c[j * kTile + s];
            }
        barrier();
    }
    if (thread != 0) return;
    sums[blockIdx.x] = sum;
    if (add_acquire_release(arrived, 1) != gridDim.x - 1) return;
    double total = 0.0;
    for (unsigned b = 0; b < gridDim.x; ++b) total += sums[b];
    *call.value = total / static_cast<double>(call.n);
    *arrived = 0;
}

int64_t loss_workspace_bytes(int64_t n, int32_t outputs) {
    return 128 + 8 * kLossBlocks + (loss_fits(outputs) ? 0 : 4 * loss_floats(outputs) * loss_blocks(n));
}

Status matching_loss(const LossCall& call, Stream stream) {
    const size_t shared = loss_fits(call.outputs) ? static_cast<size_t>(4 * loss_floats(call.outputs)) : 0;
    const Grid grid = {static_cast<unsigned>(loss_blocks(call.n)), 1, kLossThreads, shared, false};
    return launch(shared ? loss_kernel<true> : loss_kernel<false>, grid, stream, call);
}

}  // namespace cuda
}  // namespace regkd

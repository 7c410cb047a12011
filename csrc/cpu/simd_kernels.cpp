// One SIMD level of the CPU back end. Compiled once for each level with its -march and its REGKD_LEVEL; exports one
// function, regkd_kernels_<level>.
#include "train.h"

namespace regkd {
namespace REGKD_LEVEL {
namespace {

void steps(JobRun* run, int thread, int threads) { run_steps<Order::kForwards>(run, thread, threads); }

// out[i, k, j] = x[i, j] + sigma[j] * normal(seed, stream, step, sample i, draw k, feature j)
void perturb(const float* x, const float* sigma, int64_t samples, int64_t features, int32_t draws, uint64_t seed,
             int64_t step, int32_t stream, float* out) {
    for (int64_t i = 0; i < samples; i += kVec) {
        UVec sample;
        for (int v = 0; v < kVec; ++v) sample[v] = static_cast<uint32_t>(i + v);
        const int live = static_cast<int>(samples - i < kVec ? samples - i : kVec);
        for (int32_t k = 0; k < draws; ++k)
            for (int64_t q = 0; 4 * q < features; ++q) {
                Vec noise[4];
                normal_quad(seed, static_cast<Stream>(stream), static_cast<uint32_t>(step), sample,
                            static_cast<uint32_t>(k), static_cast<uint32_t>(q), noise);
                for (int64_t j = 4 * q; j < 4 * q + 4 && j < features; ++j) {
                    const Vec moved = noise[j & 3] * sigma[j];
                    for (int v = 0; v < live; ++v)
                        out[((i + v) * draws + k) * features + j] = x[(i + v) * features + j] + moved[v];
                }
            }
    }
}

// scratch: (4 o + 8) rows of 32 floats.
void matching_loss(LossCall* call, float* scratch) {
    const int o = call->outputs;
    Job job = call->constants;
    float *student = scratch, *y = student + o * kTile, *t = y + o * kTile, *c = t + o * kTile, *loss = c + o * kTile;
    float* terms = loss + kTile;
    const RowTerms row = {terms, terms + kTile, terms + 2 * kTile, terms + 3 * kTile, terms + 4 * kTile};
    double total = 0.0;
    for (int64_t first = 0; first < call->n; first += kTile) {
        const int count = static_cast<int>(call->n - first < kTile ? call->n - first : kTile);
        const CpuBlock<> block(count, nullptr, 0);
        for (int s = 0; s < kTile; ++s) {
            const int64_t i = first + (s < count ? s : 0);
            for (int j = 0; j < o; ++j) {
                student[j * kTile + s] = call->student[i * o + j];
                if (call->y) y[j * kTile + s] = call->y[i * o + j];
                if (call->t) t[j * kTile + s] = call->t[i * o + j];
            }
            terms[s] = s < count ? (job.row_weight ? job.row_weight[i] : 1.0f) : 0.0f;
            terms[kTile + s] = job.row_a ? job.row_a[i] : job.base_a;
            terms[2 * kTile + s] = job.row_b ? job.row_b[i] : job.base_b;
            terms[3 * kTile + s] = job.row_error ? job.row_error[i] : 0.0f;
            terms[4 * kTile + s] = job.row_outlier ? job.row_outlier[i] : 0.0f;
            loss[s] = 0.0f;
        }
        base_loss(block, base_constants(job), o, student, call->y ? y : nullptr, call->t ? t : nullptr, row,
                  1.0f / static_cast<float>(call->n), c, loss);
        total += CpuBlock<>::lane_sum(loss, count);
        if (call->gradient)
            for (int s = 0; s < count; ++s)
                for (int j = 0; j < o; ++j) call->gradient[(first + s) * o + j] = c[j * kTile + s];
    }
    call->value = total / static_cast<double>(call->n);
}

Job predict_job(const Network* net) {
    Job job = {};
    job.student = *net;
    job.teacher = *net;
    job.batch = 1;
    job.gm_on = 1;
    job.weight[kTermGm].start = 1.0f;  // reserves the rows of pass 2
    return job;
}
int64_t predict_floats(const Network* net) { return make_arena(predict_job(net)).floats; }

// y [N, o] and, when wanted, the Jacobian [N, o, d] of rows begin .. end - 1.
void predict(const Network* net, const float* x, int64_t begin, int64_t end, float* arena, float* y, float* jacobian) {
    const Job job = predict_job(net);
    const Arena at = make_arena(job);
    Rows rows = teacher_rows(at, arena);
    place_weights(*net, net->params, rows);
    const int d = net->widths[0], o = net->widths[net->layers];
    float *in = arena + at.x, *out = arena + at.teacher_y, *v = arena + at.v, *g = arena + at.teacher_g;
    for (int64_t first = begin; first < end; first += kTile) {
        const int count = static_cast<int>(end - first < kTile ? end - first : kTile);
        const CpuBlock<> block(count, nullptr, 0);
        for (int s = 0; s < kTile; ++s)
            for (int j = 0; j < d; ++j) in[j * kTile + s] = x[(first + (s < count ? s : 0)) * d + j];
        forward(block, *net, 0, rows, 0, nullptr, *net, rows, jacobian ? 1 : 0, out, in);
        for (int s = 0; s < count; ++s)
            for (int j = 0; j < o; ++j) y[(first + s) * o + j] = out[j * kTile + s];
        if (!jacobian) continue;
        for (int k = 0; k < o; ++k) {
            block.rows(o, [&](int j, int s) { block.store(v + j * kTile + s, all<Vec>(j == k ? 1.0f : 0.0f)); });
            pull_back(block, *net, 0, rows, nullptr, nullptr, *net, rows, v, g);
            for (int s = 0; s < count; ++s)
                for (int j = 0; j < d; ++j) jacobian[((first + s) * o + k) * d + j] = g[j * kTile + s];
        }
    }
}

void activate(int32_t kind, const float* z, int64_t n, float* a, float* s1, float* s2) {
    alignas(64) float buffer[3][kTile];
    for (int64_t first = 0; first < n; first += kTile) {
        const int count = static_cast<int>(n - first < kTile ? n - first : kTile);
        for (int s = 0; s < kTile; ++s) buffer[0][s] = z[first + (s < count ? s : 0)];
        const CpuBlock<> block(kTile, nullptr, 0);
        activate_rows<2>(block, kind, 0, 1, buffer[0], buffer[1], buffer[2]);
        for (int s = 0; s < count; ++s) {
            a[first + s] = buffer[0][s];
            s1[first + s] = buffer[1][s];
            s2[first + s] = buffer[2][s];
        }
    }
}

void permute(uint64_t seed, uint64_t epoch, int64_t n, int32_t* out) {
    const RowKeys keys = row_keys(seed, epoch);
    const int bits = row_bits(static_cast<uint32_t>(n));
    for (int64_t i = 0; i < n; ++i)
        out[i] = static_cast<int32_t>(permute_row(keys, static_cast<uint32_t>(i), static_cast<uint32_t>(n), bits));
}

#define REGKD_TEXT2(x) #x
#define REGKD_TEXT(x) REGKD_TEXT2(x)
const Kernels kernels = {REGKD_TEXT(REGKD_LEVEL), kVec,    measure_run,    steps,    perturb,
                         matching_loss,           predict, predict_floats, activate, permute};

}  // namespace
}  // namespace REGKD_LEVEL
}  // namespace regkd

#define REGKD_JOIN2(a, b) a##b
#define REGKD_JOIN(a, b) REGKD_JOIN2(a, b)
extern "C" const regkd::Kernels* REGKD_JOIN(regkd_kernels_, REGKD_LEVEL)() { return &regkd::REGKD_LEVEL::kernels; }

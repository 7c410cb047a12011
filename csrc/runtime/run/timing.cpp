#include "timing.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

namespace regkd {
namespace run {

namespace {

struct Quantile {
    const char* name;
    double q;
};
const Quantile kQuantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p95", 0.95}, {"p99", 0.99}};

int64_t now() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

template <class... Values>
void append(std::string& text, const char* format, Values... values) {
    char line[256];
    std::snprintf(line, sizeof line, format, values...);
    text += line;
}

double mean(const std::vector<int64_t>& raw) {
    double sum = 0;
    for (int64_t value : raw) sum += static_cast<double>(value);
    return sum / static_cast<double>(raw.size());
}

}  // namespace

bool quantile(const std::vector<int64_t>& raw, double q, double& value) {
    if (static_cast<double>(raw.size()) * (1 - q) < 10 - 1e-9) return false;
    std::vector<int64_t> sorted = raw;
    std::sort(sorted.begin(), sorted.end());
    const double place = q * static_cast<double>(sorted.size() - 1);
    const size_t below = static_cast<size_t>(place), above = std::min(below + 1, sorted.size() - 1);
    const double part = place - static_cast<double>(below);
    value = static_cast<double>(sorted[below]) * (1 - part) + static_cast<double>(sorted[above]) * part;
    return true;
}

Status time_requests(Engine& engine, const std::vector<float>& rows, Timing& timing) {
    const size_t d = engine.inputs(), given = rows.size() / d;
    // Up to 256 requests, cut before the clock runs.
    const size_t count = std::max<size_t>(1, std::min<size_t>(256, given));
    std::vector<float> x(count * timing.batch * d), y(timing.batch * engine.outputs());
    for (size_t i = 0; i < count * timing.batch; ++i)
        std::copy_n(rows.begin() + static_cast<std::ptrdiff_t>(i % given * d), d,
                    x.begin() + static_cast<std::ptrdiff_t>(i * d));
    const auto request = [&](size_t i) {
        return engine.infer(x.data() + i % count * timing.batch * d, timing.batch, y.data());
    };

    std::vector<int64_t> nothing(2000);
    for (int64_t& taken : nothing) {
        const int64_t start = now();
        taken = now() - start;
    }
    std::sort(nothing.begin(), nothing.end());
    timing.overhead = static_cast<double>(nothing[nothing.size() / 2]);

    for (size_t i = 0; i < timing.warmup; ++i) {
        const Status status = request(i);
        if (!status.ok()) return status;
    }
    timing.raw.assign(timing.samples, 0);
    for (size_t i = 0; i < timing.samples; ++i) {
        const int64_t start = now();
        const Status status = request(i);
        timing.raw[i] = now() - start;
        if (!status.ok()) return status;
    }
    return {};
}

std::string as_text(const Engine& engine, const Timing& timing) {
    std::string text;
    append(text, "engine    %s, %s, %zu inputs, %zu outputs\n", engine.backend(), engine.level(), engine.inputs(),
           engine.outputs());
    append(text, "requests  %zu of %zu rows, one after the other, after %zu untimed ones\n", timing.samples,
           timing.batch, timing.warmup);
    for (const Quantile& known : kQuantiles) {
        double value;
        if (quantile(timing.raw, known.q, value))
            append(text, "%-9s %.3f us\n", known.name, value * 1e-3);
        else
            append(text, "%-9s not given: %zu samples are too few for it\n", known.name, timing.samples);
    }
    const auto ends = std::minmax_element(timing.raw.begin(), timing.raw.end());
    append(text, "min, max  %.3f us, %.3f us\n", static_cast<double>(*ends.first) * 1e-3,
           static_cast<double>(*ends.second) * 1e-3);
    append(text, "overhead  %.3f us of the clock and the loop are contained in each figure\n", timing.overhead * 1e-3);
    return text;
}

std::string as_json(const Engine& engine, const Timing& timing) {
    std::string text;
    append(text, "{\"backend\": \"%s\", \"level\": \"%s\", \"inputs\": %zu, \"outputs\": %zu, ", engine.backend(),
           engine.level(), engine.inputs(), engine.outputs());
    append(text, "\"batch\": %zu, \"samples\": %zu, \"warmup\": %zu, ", timing.batch, timing.samples, timing.warmup);
    for (const Quantile& known : kQuantiles) {
        double value;
        if (quantile(timing.raw, known.q, value))
            append(text, "\"%s_ns\": %.3f, ", known.name, value);
        else
            append(text, "\"%s_ns\": null, ", known.name);
    }
    const auto ends = std::minmax_element(timing.raw.begin(), timing.raw.end());
    append(text, "\"min_ns\": %lld, \"max_ns\": %lld, ", static_cast<long long>(*ends.first),
           static_cast<long long>(*ends.second));
    append(text, "\"mean_ns\": %.3f, \"overhead_ns\": %.1f}\n", mean(timing.raw), timing.overhead);
    return text;
}

}  // namespace run
}  // namespace regkd

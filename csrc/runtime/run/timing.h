// Latency of synchronous requests by the host's clock, as regkd_edge.measure.latency takes it from Python.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "regkd/engine.h"

namespace regkd {
namespace run {

struct Timing {
    size_t batch = 1, samples = 0, warmup = 0;
    std::vector<int64_t> raw;  // [samples] nanoseconds of each request, in their order
    double overhead = 0;       // median of the same loop around nothing: contained in the figures, not subtracted
};

// Requests are cut from the rows in turn, wrapping around. One request follows the other; none is left out.
Status time_requests(Engine& engine, const std::vector<float>& rows, Timing& timing);

// Quantile q by linear interpolation; false when fewer than 10 samples lie beyond it (p99 wants 1000 samples).
bool quantile(const std::vector<int64_t>& raw, double q, double& value);

std::string as_text(const Engine& engine, const Timing& timing);
std::string as_json(const Engine& engine, const Timing& timing);

}  // namespace run
}  // namespace regkd

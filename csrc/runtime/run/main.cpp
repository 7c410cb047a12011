// regkd-run: answer the rows of a CSV with an engine, or time it.
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "csv.h"
#include "timing.h"

namespace {

const char kUsage[] =
    "usage: regkd-run ENGINE ROWS.csv [--output ANSWERS.csv]\n"
    "       regkd-run ENGINE ROWS.csv --time [--batch N] [--samples N] [--warmup N] [--raw FILE] [--json]\n"
    "\n"
    "  ENGINE        folder of an engine that 'regkd-edge build' wrote, or a native engine file\n"
    "  ROWS.csv      raw inputs, one row per line, with or without a header ('-': standard input)\n"
    "  --output      where the answers go (standard output)\n"
    "  --time        time requests instead: p50, p90, p95, p99, min, max\n"
    "  --batch       rows per request (1)\n"
    "  --samples     timed requests (10000)\n"
    "  --warmup      untimed requests before them (1000)\n"
    "  --raw         file for the nanoseconds of every request, one per line\n"
    "  --json        print the figures as one JSON object\n"
    "  --level       instruction set of the native back end, by name (the best of this processor)\n"
    "  --trust-engine-code   TensorRT: load a version-compatible engine, which brings code of its own that then runs\n";

// Exit code 2: the user can fix it; 1: it failed while running.
int refuse(const char* message) {
    std::fprintf(stderr, "regkd-run: %s\n", message);
    return 2;
}

struct Arguments {
    const char* engine = nullptr;
    const char* rows = nullptr;
    const char* output = nullptr;
    const char* raw = nullptr;
    bool time = false, json = false;
    size_t batch = 1, samples = 10000, warmup = 1000;
    regkd::Options options;
};

bool count(const char* text, size_t least, size_t& value) {
    char* end = nullptr;
    errno = 0;
    const unsigned long long read = std::strtoull(text, &end, 10);
    value = static_cast<size_t>(read);
    return *text >= '0' && *text <= '9' && *end == 0 && errno == 0 && read >= least && read <= 1000000000ull;
}

// 0, or the exit code after what is wrong was said.
int parse(int argc, char** argv, Arguments& arguments) {
    char message[256];
    for (int i = 1; i < argc; ++i) {
        const char* name = argv[i];
        if (name[0] != '-' || std::strcmp(name, "-") == 0) {
            if (!arguments.engine)
                arguments.engine = name;
            else if (!arguments.rows)
                arguments.rows = name;
            else {
                std::snprintf(message, sizeof message, "'%s' is one argument too many; see regkd-run --help.", name);
                return refuse(message);
            }
            continue;
        }
        const struct {
            const char* name;
            bool* flag;
        } flags[] = {{"--time", &arguments.time},
                     {"--json", &arguments.json},
                     {"--trust-engine-code", &arguments.options.allow_engine_code}};
        const struct {
            const char* name;
            const char** text;
            size_t* number;
            size_t least;
        } values[] = {{"--output", &arguments.output, nullptr, 0},       {"--raw", &arguments.raw, nullptr, 0},
                      {"--level", &arguments.options.level, nullptr, 0}, {"--batch", nullptr, &arguments.batch, 1},
                      {"--samples", nullptr, &arguments.samples, 1},     {"--warmup", nullptr, &arguments.warmup, 0}};
        bool known = false;
        for (const auto& flag : flags)
            if (std::strcmp(name, flag.name) == 0) known = *flag.flag = true;
        for (const auto& value : values) {
            if (std::strcmp(name, value.name) != 0) continue;
            known = true;
            if (++i == argc) {
                std::snprintf(message, sizeof message, "%s needs a value; see regkd-run --help.", name);
                return refuse(message);
            }
            if (value.text)
                *value.text = argv[i];
            else if (!count(argv[i], value.least, *value.number)) {
                std::snprintf(message, sizeof message, "%s is '%s', expected a whole number of at least %zu.", name,
                              argv[i], value.least);
                return refuse(message);
            }
        }
        if (!known) {
            std::snprintf(message, sizeof message, "unknown option '%s'; see regkd-run --help.", name);
            return refuse(message);
        }
    }
    if (!arguments.engine || !arguments.rows)
        return refuse("an engine and a CSV file are needed; see regkd-run --help.");
    return 0;
}

int answer(regkd::Engine& engine, const std::vector<float>& rows, const char* output) {
    const size_t n = rows.size() / engine.inputs(), o = engine.outputs();
    std::vector<float> y(n * o);
    const regkd::Status status = engine.infer(rows.data(), n, y.data());
    if (!status.ok()) return refuse(status.message());
    std::FILE* file = output ? std::fopen(output, "w") : stdout;
    if (!file) return refuse((std::string("'") + output + "' cannot be written: " + std::strerror(errno)).c_str());
    for (size_t i = 0; i < o; ++i) {
        const std::string name = *engine.output_name(i) ? engine.output_name(i) : "y" + std::to_string(i);
        const bool quoted = name.find_first_of(",\"") != std::string::npos;
        std::string shown = quoted ? "\"" : "";
        for (char c : name) shown += c == '"' ? "\"\"" : std::string(1, c);
        std::fprintf(file, "%s%s%s", i ? "," : "", shown.c_str(), quoted ? "\"" : "");
    }
    for (size_t i = 0; i < y.size(); ++i) std::fprintf(file, "%s%.9g", i % o ? "," : "\n", static_cast<double>(y[i]));
    std::fprintf(file, "\n");
    const bool failed = std::ferror(file) != 0;
    if ((output ? std::fclose(file) : std::fflush(file)) != 0 || failed)
        return refuse("the answers could not be written in full.");
    return 0;
}

int take_time(regkd::Engine& engine, const std::vector<float>& rows, const Arguments& arguments) {
    regkd::run::Timing timing;
    timing.batch = arguments.batch;
    timing.samples = arguments.samples;
    timing.warmup = arguments.warmup;
    const regkd::Status status = regkd::run::time_requests(engine, rows, timing);
    if (!status.ok()) return refuse(status.message());
    if (arguments.raw) {
        std::ofstream file(arguments.raw);
        for (long long value : timing.raw) file << value << '\n';
        file.close();
        if (!file) return refuse((std::string("'") + arguments.raw + "' cannot be written.").c_str());
    }
    std::fputs((arguments.json ? as_json(engine, timing) : as_text(engine, timing)).c_str(), stdout);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    for (int i = 1; i < argc; ++i)
        if (std::strcmp(argv[i], "--help") == 0) return std::fputs(kUsage, stdout) < 0;
    Arguments arguments;
    if (const int code = parse(argc, argv, arguments)) return code;
    regkd::Engine engine;
    const regkd::Status status = regkd::Engine::load(arguments.engine, engine, arguments.options);
    if (!status.ok()) return refuse(status.message());
    std::vector<float> rows;
    std::string message;
    if (!regkd::run::read_csv(arguments.rows, engine, rows, message)) return refuse((message + ".").c_str());
    return arguments.time ? take_time(engine, rows, arguments) : answer(engine, rows, arguments.output);
}

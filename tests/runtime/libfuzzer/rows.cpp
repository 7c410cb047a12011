// regkd-run's CSV reader: any text is a sentence, or whole rows of finite numbers.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "csv.h"

// The engine whose columns are read, by the environment: its names decide which columns are taken.
static const regkd::Engine& engine() {
    static const regkd::Engine loaded = [] {
        regkd::Engine made;
        const char* path = std::getenv("REGKD_ENGINE");
        if (!path || !regkd::Engine::load(path, made).ok()) std::abort();
        return made;
    }();
    return loaded;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    std::istringstream text(std::string(reinterpret_cast<const char*>(data), size));
    std::cin.clear();
    std::streambuf* before = std::cin.rdbuf(text.rdbuf());
    std::vector<float> rows;
    std::string message;
    const bool read = regkd::run::read_csv("-", engine(), rows, message);
    std::cin.rdbuf(before);
    if (!read) {
        if (message.empty()) std::abort();
        return 0;
    }
    if (rows.empty() || rows.size() % engine().inputs()) std::abort();
    for (float value : rows)
        if (!std::isfinite(value)) std::abort();
    return 0;
}

#include "csv.h"

#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>

namespace regkd {
namespace run {

namespace {

std::string trimmed(const std::string& text) {
    const size_t first = text.find_first_not_of(" \t\r"), last = text.find_last_not_of(" \t\r");
    return first == std::string::npos ? std::string() : text.substr(first, last - first + 1);
}

// Fields of a line; a field in double quotes may hold commas, and "" for a quote.
std::vector<std::string> fields_of(const std::string& line) {
    std::vector<std::string> fields;
    for (size_t at = 0; at <= line.size(); ++at) {
        std::string field;
        const size_t start = line.find_first_not_of(" \t", at);
        if (start != std::string::npos && line[start] == '"') {
            for (at = start + 1; at < line.size(); ++at) {
                if (line[at] != '"')
                    field += line[at];
                else if (at + 1 < line.size() && line[at + 1] == '"')
                    field += line[at++];
                else
                    break;
            }
            at = line.find(',', at);
        } else {
            const size_t comma = line.find(',', at);
            field = trimmed(line.substr(at, comma == std::string::npos ? comma : comma - at));
            at = comma;
        }
        fields.push_back(field);
        if (at == std::string::npos) break;
    }
    return fields;
}

bool number(const std::string& text, float& value) {
    char* end = nullptr;
    value = std::strtof(text.c_str(), &end);
    return !text.empty() && *end == 0;
}

bool is_header(const std::vector<std::string>& fields) {
    float ignored;
    for (const std::string& field : fields)
        if (!number(field, ignored)) return true;
    return false;
}

// Which field of a line is input j; empty: they are the engine's inputs in their order.
bool choose_columns(const std::vector<std::string>& header, const Engine& engine, std::vector<size_t>& columns,
                    std::string& message) {
    if (!*engine.input_name(0)) return true;
    for (size_t j = 0; j < engine.inputs(); ++j) {
        size_t at = 0;
        while (at < header.size() && header[at] != engine.input_name(j)) ++at;
        if (at == header.size()) {
            message = "no column '" + std::string(engine.input_name(j)) + "', which is input " + std::to_string(j) +
                      " of the engine";
            return false;
        }
        columns.push_back(at);
    }
    return true;
}

}  // namespace

bool read_csv(const char* path, const Engine& engine, std::vector<float>& rows, std::string& message) {
    std::ifstream file;
    const bool standard = std::strcmp(path, "-") == 0;
    if (!standard) file.open(path);
    std::istream& stream = standard ? std::cin : file;
    if (!stream) {
        message = std::string("'") + path + "' cannot be opened: " + std::strerror(errno);
        return false;
    }
    std::vector<size_t> columns;
    std::string line;
    bool first = true;
    size_t width = engine.inputs();
    for (size_t at = 1; std::getline(stream, line); ++at) {
        if (at == 1 && line.compare(0, 3, "\xEF\xBB\xBF") == 0) line.erase(0, 3);
        if (trimmed(line).empty()) continue;
        const std::vector<std::string> fields = fields_of(line);
        const std::string where = std::string("'") + path + "', line " + std::to_string(at) + ": ";
        const bool header = first && is_header(fields);
        first = false;
        if (header) {
            if (!choose_columns(fields, engine, columns, message)) {
                message = where + message;
                return false;
            }
            if (!columns.empty()) width = fields.size();
        }
        if (fields.size() != width) {
            message = where + std::to_string(fields.size()) + " fields, expected " + std::to_string(width);
            return false;
        }
        if (header) continue;
        for (size_t j = 0; j < engine.inputs(); ++j) {
            const std::string& field = fields[columns.empty() ? j : columns[j]];
            float value;
            if (!number(field, value) || !std::isfinite(value)) {
                message = where + "field " + std::to_string((columns.empty() ? j : columns[j]) + 1) + " is '" + field +
                          "', expected a finite number";
                return false;
            }
            rows.push_back(value);
        }
    }
    if (rows.empty()) {
        message = std::string("'") + path + "' has no rows";
        return false;
    }
    return true;
}

}  // namespace run
}  // namespace regkd

#include "csv.h"

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <set>

namespace regkd {
namespace run {

namespace {

constexpr size_t longest_line = size_t(16) << 20;  // bytes, as the reader in Python has it
constexpr size_t longest_number = 400;             // the longest double has fewer characters

std::string trimmed(const std::string& text) {
    const size_t first = text.find_first_not_of(" \t"), last = text.find_last_not_of(" \t");
    return first == std::string::npos ? std::string() : text.substr(first, last - first + 1);
}

// The next line without its end. `too_long`: it is longer than a line of a table, and was not read to its end. False:
// there is none.
bool next_line(std::istream& stream, std::string& line, bool& too_long) {
    line.clear();
    too_long = false;
    int byte = stream.get();
    if (byte == std::char_traits<char>::eof()) return false;  // or a folder, which cannot be read
    for (; byte != std::char_traits<char>::eof() && byte != '\n'; byte = stream.get()) {
        if (line.size() == longest_line) {
            too_long = true;
            return true;
        }
        line.push_back(char(byte));
    }
    if (!line.empty() && line.back() == '\r') line.pop_back();
    return true;
}

// Fields of a line; a field in double quotes may hold commas, and "" for a quote. False: a quote that is not closed, or
// text behind a closed one, which strict readers refuse too.
bool fields_of(const std::string& line, std::vector<std::string>& fields) {
    for (size_t at = 0; at <= line.size(); ++at) {
        std::string field;
        const size_t start = line.find_first_not_of(" \t", at);
        if (start != std::string::npos && line[start] == '"') {
            bool closed = false;
            for (at = start + 1; at < line.size(); ++at) {
                if (line[at] != '"')
                    field += line[at];
                else if (at + 1 < line.size() && line[at + 1] == '"')
                    field += line[at++];
                else {
                    closed = true;
                    break;
                }
            }
            if (!closed || (at + 1 < line.size() && line[at + 1] != ',')) return false;
            at = at + 1 < line.size() ? at + 1 : std::string::npos;
        } else {
            const size_t comma = line.find(',', at);
            field = trimmed(line.substr(at, comma == std::string::npos ? comma : comma - at));
            at = comma;
        }
        fields.push_back(field);
        if (at == std::string::npos) break;
    }
    return true;
}

// A whole number that a double does not hold: the code of something, or a mistake. Python's reader refuses it too.
bool is_long_code(const std::string& text) {
    std::string digits = text.substr(text[0] == '-' || text[0] == '+');
    if (digits.size() < 16 || digits.find_first_not_of("0123456789") != std::string::npos) return false;
    digits.erase(0, digits.find_first_not_of('0'));
    if (digits.size() > 308) return true;
    char exact[512];
    std::snprintf(exact, sizeof exact, "%.0f", std::strtod(digits.c_str(), nullptr));
    return digits.empty() ? false : digits != exact;
}

bool number(const std::string& text, float& value) {
    // strtof takes hexadecimal numbers too, and stops at a NUL.
    if (text.empty() || text.size() > longest_number || text.find_first_of(std::string("xX\0", 3)) != std::string::npos)
        return false;
    char* end = nullptr;
    value = std::strtof(text.c_str(), &end);
    return *end == 0 && !is_long_code(text);
}

// A line of numbers alone names the columns where it has the engine's own names: a data frame may number its columns.
bool is_header(const std::vector<std::string>& fields, const Engine& engine) {
    float ignored;
    for (const std::string& field : fields)
        if (!number(field, ignored)) return true;
    if (!*engine.input_name(0)) return false;
    const std::set<std::string> seen(fields.begin(), fields.end());
    for (size_t j = 0; j < engine.inputs(); ++j)
        if (!seen.count(engine.input_name(j))) return false;
    return true;
}

// Which field of a line is input j; empty: they are the engine's inputs in their order.
bool choose_columns(const std::vector<std::string>& header, const Engine& engine, std::vector<size_t>& columns,
                    std::string& message) {
    std::set<std::string> seen;
    for (size_t at = 0; at < header.size(); ++at) {
        if (header[at].empty()) {
            message = "column " + std::to_string(at + 1) + " has no name";
            return false;
        }
        if (!seen.insert(header[at]).second) {
            message = "column '" + header[at] + "' appears more than once";
            return false;
        }
    }
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
    bool first = true, too_long = false;
    size_t width = engine.inputs();
    for (size_t at = 1; next_line(stream, line, too_long); ++at) {
        if (at == 1 && line.compare(0, 3, "\xEF\xBB\xBF") == 0) line.erase(0, 3);
        if (trimmed(line).empty()) continue;
        if (line.find('\0') != std::string::npos) {
            message =
                std::string("'") + path + "' is not a text file: line " + std::to_string(at) + " contains a zero byte";
            return false;
        }
        const std::string where = std::string("'") + path + "', line " + std::to_string(at) + ": ";
        if (too_long) {
            message = where + "more than " + std::to_string(longest_line) + " bytes, expected a row of numbers";
            return false;
        }
        if (line.find('\r') != std::string::npos) {
            message = where + "a carriage return inside the line";
            return false;
        }
        std::vector<std::string> fields;
        if (!fields_of(line, fields)) {
            message = where + "a double quote is not closed, or text follows a closed one";
            return false;
        }
        const bool header = first && is_header(fields, engine);
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

#include "json.h"

#include <cstring>

namespace regkd {
namespace runtime {

namespace {

struct Reader {
    const char* at;
    const char* end;

    void blanks() {
        while (at < end && std::strchr(" \t\r\n", *at) && *at) ++at;
    }
    bool eat(char c) {
        blanks();
        if (at == end || *at != c) return false;
        ++at;
        return true;
    }
    bool hex(unsigned& value) {
        value = 0;
        for (int i = 0; i < 4; ++i, ++at) {
            if (at == end) return false;
            const char c = *at;
            const int digit = c >= '0' && c <= '9'   ? c - '0'
                              : c >= 'a' && c <= 'f' ? c - 'a' + 10
                              : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                     : -1;
            if (digit < 0) return false;
            value = value * 16 + static_cast<unsigned>(digit);
        }
        return true;
    }
    bool string(std::string& out) {
        if (!eat('"')) return false;
        for (out.clear(); at < end && *at != '"';) {
            if (static_cast<unsigned char>(*at) < 0x20) return false;
            if (*at != '\\') {
                out += *at++;
                continue;
            }
            if (++at == end) return false;
            const char c = *at++;
            if (c == 'u') {
                unsigned code;
                if (!hex(code)) return false;
                // Back ends and file names are ASCII: another character only has to make the text differ from them.
                if (code < 0x80)
                    out += static_cast<char>(code);
                else
                    out += '?';
            } else {
                const char* pair = "\"\"\\\\//b\bf\fn\nr\rt\t";  // what is written, what it means
                while (*pair && *pair != c) pair += 2;
                if (!*pair) return false;
                out += pair[1];
            }
        }
        return eat_quote();
    }
    bool eat_quote() {
        if (at == end) return false;
        ++at;
        return true;
    }
    bool word(const char* text) {
        const size_t n = std::strlen(text);
        if (static_cast<size_t>(end - at) < n || std::strncmp(at, text, n) != 0) return false;
        at += n;
        return true;
    }
    // Any value; `text` gets it when it is a string. Deep nesting is refused: recursion is stack.
    bool value(int depth, std::string* text, bool& is_string) {
        is_string = false;
        blanks();
        if (at == end || depth > 32) return false;
        std::string ignored;
        bool inner;
        if (*at == '"') {
            is_string = true;
            return string(text ? *text : ignored);
        }
        if (eat('[')) {
            if (eat(']')) return true;
            do {
                if (!value(depth + 1, nullptr, inner)) return false;
            } while (eat(','));
            return eat(']');
        }
        if (eat('{')) {
            if (eat('}')) return true;
            do {
                if (!string(ignored) || !eat(':') || !value(depth + 1, nullptr, inner)) return false;
            } while (eat(','));
            return eat('}');
        }
        if (word("true") || word("false") || word("null") || word("NaN")) return true;
        const char* start = at;
        while (at < end && *at && std::strchr("+-0123456789.eE", *at)) ++at;
        return at > start;
    }
};

}  // namespace

bool read_strings(const std::string& text, std::map<std::string, std::string>& strings) {
    Reader reader{text.data(), text.data() + text.size()};
    if (!reader.eat('{')) return false;
    if (!reader.eat('}')) {
        do {
            std::string key, value;
            bool is_string;
            if (!reader.string(key) || !reader.eat(':') || !reader.value(0, &value, is_string)) return false;
            if (is_string) strings[key] = value;
        } while (reader.eat(','));
        if (!reader.eat('}')) return false;
    }
    reader.blanks();
    return reader.at == reader.end;
}

}  // namespace runtime
}  // namespace regkd

// PTX arithmetic that C++ does not spell the same way: bits as numbers, shifts that clamp, saturating conversions.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace ptx {

template <class To, class From>
inline To bits_as(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

// A shift by the width or more gives 0, or the sign for an arithmetic shift to the right.
template <class T>
inline T shift_left(T a, uint32_t n) {
    return n >= 8 * sizeof(T) ? T{0} : static_cast<T>(a << n);
}
template <class T>
inline T shift_right(T a, uint32_t n) {
    constexpr uint32_t bits = 8 * sizeof(T);
    if (n >= bits) return std::numeric_limits<T>::is_signed && a < 0 ? static_cast<T>(-1) : T{0};
    return static_cast<T>(a >> n);
}

// Division by zero has no defined value in PTX; all ones, as devices give, and no trap.
template <class T>
inline T divide(T a, T b) {
    if (b == 0) return static_cast<T>(-1);
    if (std::numeric_limits<T>::is_signed && b == static_cast<T>(-1)) return static_cast<T>(0 - a);
    return a / b;
}
template <class T>
inline T remainder(T a, T b) {
    if (b == 0) return a;
    if (std::numeric_limits<T>::is_signed && b == static_cast<T>(-1)) return 0;
    return a % b;
}

inline uint32_t high_product(uint32_t a, uint32_t b) { return static_cast<uint32_t>(uint64_t{a} * b >> 32); }
inline int32_t high_product(int32_t a, int32_t b) { return static_cast<int32_t>(int64_t{a} * b >> 32); }
inline uint64_t high_product(uint64_t a, uint64_t b) {
    return static_cast<uint64_t>(static_cast<unsigned __int128>(a) * b >> 64);
}
inline int64_t high_product(int64_t a, int64_t b) { return static_cast<int64_t>(static_cast<__int128>(a) * b >> 64); }

// The number, where one of the two is not one; -0 is less than +0.
template <class T>
inline T smaller(T a, T b) {
    if (std::isnan(a)) return b;
    if (std::isnan(b)) return a;
    return a < b || (a == b && std::signbit(a)) ? a : b;
}
template <class T>
inline T larger(T a, T b) {
    if (std::isnan(a)) return b;
    if (std::isnan(b)) return a;
    return a > b || (a == b && std::signbit(b)) ? a : b;
}

// Of a number that is whole already: rounded to the type's range, 0 for what is no number.
template <class To, class From>
inline To saturated(From from) {
    if (std::isnan(from)) return 0;
    const From low = static_cast<From>(std::numeric_limits<To>::min()),
               high = std::ldexp(From{1}, std::numeric_limits<To>::digits);
    if (from < low) return std::numeric_limits<To>::min();
    if (from >= high) return std::numeric_limits<To>::max();
    return static_cast<To>(from);
}

inline uint32_t insert_bits(uint32_t a, uint32_t b, uint32_t at, uint32_t count) {
    at &= 255;
    count &= 255;
    if (count == 0 || at >= 32) return b;
    const uint32_t mask = shift_left(count >= 32 ? ~0u : (1u << count) - 1u, at);
    return (b & ~mask) | (shift_left(a, at) & mask);
}
inline uint32_t extract_bits(uint32_t a, uint32_t at, uint32_t count) {
    at &= 255;
    count &= 255;
    return shift_right(a, at) & (count >= 32 ? ~0u : (1u << count) - 1u);
}

// Any function of three bits.
template <class T>
inline T logic3(T a, T b, T c, int table) {
    T out = 0;
    if (table & 0x80) out |= a & b & c;
    if (table & 0x40) out |= a & b & ~c;
    if (table & 0x20) out |= a & ~b & c;
    if (table & 0x10) out |= a & ~b & ~c;
    if (table & 0x08) out |= ~a & b & c;
    if (table & 0x04) out |= ~a & b & ~c;
    if (table & 0x02) out |= ~a & ~b & c;
    if (table & 0x01) out |= ~a & ~b & ~c;
    return out;
}

inline uint32_t permute_bytes(uint32_t a, uint32_t b, uint32_t selector) {
    const uint64_t both = uint64_t{b} << 32 | a;
    uint32_t out = 0;
    for (int i = 0; i < 4; ++i) {
        const uint32_t s = selector >> (4 * i) & 15;
        uint32_t byte = static_cast<uint32_t>(both >> (8 * (s & 7))) & 255;
        if (s & 8) byte = byte & 128 ? 255 : 0;
        out |= byte << (8 * i);
    }
    return out;
}
inline uint32_t funnel_left(uint32_t low, uint32_t high, uint32_t n) {
    return static_cast<uint32_t>((uint64_t{high} << 32 | low) << (n & 31) >> 32);
}
inline uint32_t funnel_right(uint32_t low, uint32_t high, uint32_t n) {
    return static_cast<uint32_t>((uint64_t{high} << 32 | low) >> (n & 31));
}

// With the carry flag in and out.
inline uint32_t add_carry(uint32_t a, uint32_t b, bool in, bool& out) {
    const uint64_t sum = uint64_t{a} + b + in;
    out = sum >> 32 & 1;
    return static_cast<uint32_t>(sum);
}
inline uint64_t add_carry(uint64_t a, uint64_t b, bool in, bool& out) {
    const unsigned __int128 sum = static_cast<unsigned __int128>(a) + b + in;
    out = static_cast<bool>(sum >> 64 & 1);
    return static_cast<uint64_t>(sum);
}
template <class T>
inline T subtract_borrow(T a, T b, bool in, bool& out) {
    out = a < b || (a == b && in);
    return static_cast<T>(a - b - in);
}

// The upper half of 1 / x, as rcp.approx.ftz.f64 leaves it.
inline double coarse_reciprocal(double x) {
    return bits_as<double>(bits_as<uint64_t>(1.0 / x) & 0xFFFFFFFF00000000ull);
}

}  // namespace ptx

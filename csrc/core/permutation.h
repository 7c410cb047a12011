// perm(seed, epoch, n): a bijection of [0, n), so that an epoch visits every row once, in an order that is a
// function of seed and epoch alone and needs no stored shuffle.
//
// Six Feistel rounds over the smallest 2^bits >= n (bits >= 2), cycle walking back into [0, n). The six round keys
// are words of Philox at (sample 0, quad 0 and 1, step = epoch's low word, draw = 0, stream ROWS); the epoch's high
// word is xored into the upper key half, so 2^64 epochs differ. The round function is an integer hash, which is
// enough to shuffle rows and far cheaper than a Philox call a round.
#pragma once

#include "philox.h"

namespace regkd {
namespace REGKD_LEVEL {

struct RowKeys {
    uint32_t key[6];
};

REGKD_INLINE RowKeys row_keys(uint64_t seed, uint64_t epoch) {
    RowKeys keys;
    const uint64_t epoch_seed = seed ^ ((epoch >> 32) << 32);
    uint32_t w[4];
    philox_words<uint32_t>(epoch_seed, kRows, static_cast<uint32_t>(epoch), 0u, 0u, 0u, w);
    for (int i = 0; i < 4; ++i) keys.key[i] = w[i];
    philox_words<uint32_t>(epoch_seed, kRows, static_cast<uint32_t>(epoch), 0u, 0u, 1u, w);
    keys.key[4] = w[0];
    keys.key[5] = w[1];
    return keys;
}

REGKD_INLINE int row_bits(uint32_t n) {
    int bits = 2;
    while ((static_cast<uint64_t>(1) << bits) < n) ++bits;
    return bits;
}

REGKD_INLINE uint32_t row_hash(uint32_t h, uint32_t key) {
    h = (h ^ key) * 0x9E3779B1u;
    h ^= h >> 15;
    h *= 0x85EBCA6Bu;
    return h ^ (h >> 13);
}

// i in [0, n), n in [1, 2^31). The low `lo` bits and the high `hi` bits take turns; after six rounds both are back.
REGKD_INLINE uint32_t permute_row(const RowKeys& keys, uint32_t i, uint32_t n, int bits) {
    const int hi = bits / 2, lo = bits - hi;
    const uint32_t low_mask = (1u << lo) - 1u, high_mask = (1u << hi) - 1u;
    do {
        uint32_t left = i >> lo, right = i & low_mask;  // hi bits, lo bits
        for (int r = 0; r < 6; r += 2) {
            left ^= row_hash(right, keys.key[r]) & high_mask;
            right ^= row_hash(left, keys.key[r + 1]) & low_mask;
        }
        i = (left << lo) | right;
    } while (i >= n);
    return i;
}

// The row of position `position` in the endless stream of epochs.
REGKD_INLINE uint32_t stream_row(uint64_t seed, uint64_t position, uint32_t n, int bits) {
    const uint64_t epoch = position / n;
    return permute_row(row_keys(seed, epoch), static_cast<uint32_t>(position - epoch * n), n, bits);
}

}  // namespace REGKD_LEVEL
}  // namespace regkd

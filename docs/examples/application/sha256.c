#include "sha256.h"

#include <string.h>

/* FIPS 180-4 section 4.2.2. */
static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t turned(uint32_t word, int bits) { return word >> bits | word << (32 - bits); }

/* FIPS 180-4 section 6.2.2. */
static void add_block(struct sha256 *hash) {
    uint32_t w[64], v[8];
    for (int t = 0; t < 16; t++) {
        const unsigned char *at = hash->block + 4 * t;
        w[t] = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
    }
    for (int t = 16; t < 64; t++) {
        uint32_t a = w[t - 15], b = w[t - 2];
        w[t] = (turned(b, 17) ^ turned(b, 19) ^ b >> 10) + w[t - 7]
             + (turned(a, 7) ^ turned(a, 18) ^ a >> 3) + w[t - 16];
    }
    memcpy(v, hash->state, sizeof v);
    for (int t = 0; t < 64; t++) {
        uint32_t one = v[7] + (turned(v[4], 6) ^ turned(v[4], 11) ^ turned(v[4], 25))
                     + ((v[4] & v[5]) ^ (~v[4] & v[6])) + K[t] + w[t];
        uint32_t two = (turned(v[0], 2) ^ turned(v[0], 13) ^ turned(v[0], 22))
                     + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof v[0]);
        v[4] += one;
        v[0] = one + two;
    }
    for (int index = 0; index < 8; index++)
        hash->state[index] += v[index];
}

void sha256_begin(struct sha256 *hash) {
    /* FIPS 180-4 section 5.3.3. */
    static const uint32_t FIRST[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(hash->state, FIRST, sizeof FIRST);
    hash->bytes = 0;
}

void sha256_add(struct sha256 *hash, const void *data, size_t length) {
    const unsigned char *at = data;
    while (length > 0) {
        size_t filled = (size_t)(hash->bytes % 64), piece = 64 - filled;
        if (piece > length)
            piece = length;
        memcpy(hash->block + filled, at, piece);
        hash->bytes += piece;
        at += piece;
        length -= piece;
        if (hash->bytes % 64 == 0)
            add_block(hash);
    }
}

void sha256_end(struct sha256 *hash, char digest[65]) {
    static const unsigned char PADDING[64] = {0x80};
    static const char DIGITS[] = "0123456789abcdef";
    unsigned char length[8];
    uint64_t bits = hash->bytes * 8;
    for (int index = 0; index < 8; index++)
        length[index] = (unsigned char)(bits >> (56 - 8 * index));
    /* Up to eight bytes before the end of a block (FIPS 180-4 section 5.1.1). */
    sha256_add(hash, PADDING, (size_t)(64 - (hash->bytes + 8) % 64));
    sha256_add(hash, length, sizeof length);
    for (int index = 0; index < 64; index++)
        digest[index] = DIGITS[hash->state[index / 8] >> (28 - 4 * (index % 8)) & 15];
    digest[64] = 0;
}

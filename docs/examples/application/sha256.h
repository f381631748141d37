/* SHA-256 (FIPS 180-4), so that the example needs no library. */

#ifndef SHA256_H
#define SHA256_H

#include <stddef.h>
#include <stdint.h>

struct sha256 {
    uint32_t state[8];
    uint64_t bytes;
    unsigned char block[64];
};

void sha256_begin(struct sha256 *hash);
void sha256_add(struct sha256 *hash, const void *data, size_t length);

/* The digest as 64 lower-case hexadecimal digits and a zero byte. */
void sha256_end(struct sha256 *hash, char digest[65]);

#endif

/* SHA-256 (FIPS 180-4) with the CPU's instructions where it has them. */
#ifndef TSB_SHA256_H
#define TSB_SHA256_H
#include <stddef.h>
#include <stdint.h>

#define SHA256_SIZE 32

struct sha256 {
	uint32_t state[8];
	uint64_t size;
	uint8_t block[64];
};

/* The 64 constants of the rounds. */
extern const uint32_t sha256_rounds[64];

void sha256_begin(struct sha256 *s);
void sha256_add(struct sha256 *s, const void *bytes, size_t size);
void sha256_end(struct sha256 *s, uint8_t digest[SHA256_SIZE]);

#endif

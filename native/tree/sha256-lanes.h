/* SHA-256 of many buffers: sixteen at once where the CPU has AVX-512, which takes less than half the time. */
#ifndef TSB_SHA256_LANES_H
#define TSB_SHA256_LANES_H
#include "sha256.h"

struct sha256_job {
	const uint8_t *bytes;
	size_t size;
	uint8_t *digest; /* SHA256_SIZE bytes */
};

void sha256_all(const struct sha256_job *jobs, size_t count);

#endif

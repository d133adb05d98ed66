/*
 * Fuzz targets: each gives bytes to one parser, in memory of exactly their size so that AddressSanitizer sees the
 * first byte too far, and looks at everything that was accepted. Nothing but parsing is done.
 */
#ifndef TSB_FUZZ_H
#define TSB_FUZZ_H
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Reads all of a string; aborts where it does not end inside the `size` bytes at `start`. */
static inline void touch_string(const char *text, const uint8_t *start, size_t size)
{
	size_t at = (size_t)((const uint8_t *)text - start);
	if (*text && (at >= size || strnlen(text, size - at) == size - at))
		abort();
}

#endif

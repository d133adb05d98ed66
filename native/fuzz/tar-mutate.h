/* How archives are changed: what is far from random is made right again, the sum of every header. */
#ifndef TSB_TAR_MUTATE_H
#define TSB_TAR_MUTATE_H
#include "../tree/tar-read.h"
#include <stdio.h>

size_t LLVMFuzzerMutate(uint8_t *bytes, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t max, unsigned seed)
{
	size = LLVMFuzzerMutate(bytes, size, max);
	if (seed % 8 == 0)
		return size;
	for (size_t at = 0; at + TAR_BLOCK <= size; at += TAR_BLOCK) {
		uint8_t *block = bytes + at;
		if (memcmp(block + 257, "ustar", 5) != 0)
			continue;
		unsigned sum = 0;
		memset(block + 148, ' ', 8);
		for (int i = 0; i < TAR_BLOCK; i++)
			sum += block[i];
		char text[8];
		snprintf(text, sizeof text, "%06o", sum);
		memcpy(block + 148, text, 7);
	}
	return size;
}

#endif

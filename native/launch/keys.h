/* Keys that leave a terminal while its program goes on, found in what is typed. */
#ifndef TSB_KEYS_H
#define TSB_KEYS_H
#include <stddef.h>
#include <stdint.h>

#define MAX_KEYS 64

struct keys {
	uint8_t bytes[MAX_KEYS];
	size_t count; /* 0: there are none */
	size_t matched;
};

/* From hex digits, two for each key. 0, or -1 where it is something else or too much. */
int keys_read(struct keys *keys, const char *hex);

/*
 * Moves what the program shall get of `typed` into `out` (MAX_KEYS + size bytes) and returns how much that is. What may
 * be the beginning of the keys waits for what comes next. `*left`: they were typed, and the rest was for nobody.
 */
size_t keys_pass(struct keys *keys, const uint8_t *typed, size_t size, uint8_t *out, int *left);

#endif

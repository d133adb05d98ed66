/* Text that lives as long as its arena. */
#ifndef TSB_ARENA_H
#define TSB_ARENA_H
#include <stddef.h>
#include <stdint.h>

struct arena_block;
struct arena {
	struct arena_block *latest;
	size_t left;
	uint64_t size; /* of all that was copied */
};

/* A copy with a NUL behind it. fail() where the arena grows beyond what archives may ask for. */
const char *arena_copy(struct arena *a, const void *bytes, size_t size);
void arena_free(struct arena *a);

#endif

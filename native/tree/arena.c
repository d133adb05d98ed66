#include "arena.h"
#include "tree.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE ((size_t)1 << 18)
/* A process of ours may have 200 MB, and the names need some for themselves. */
#define MAX_TEXT ((uint64_t)1 << 27)

struct arena_block {
	struct arena_block *before;
	char bytes[];
};

const char *arena_copy(struct arena *a, const void *bytes, size_t size)
{
	a->size += size + 1;
	if (a->size > MAX_TEXT)
		fail(EBADMSG, "cannot read the archive: more than %llu bytes of names, links and attributes", (unsigned long long)MAX_TEXT);
	if (size + 1 > a->left) {
		size_t room = size + 1 > BLOCK_SIZE ? size + 1 : BLOCK_SIZE;
		struct arena_block *block = allocate(sizeof *block + room);
		block->before = a->latest;
		a->latest = block;
		a->left = room;
	}
	/* From the end of the block towards its start. */
	a->left -= size + 1;
	char *copy = a->latest->bytes + a->left;
	if (size > 0)
		memcpy(copy, bytes, size);
	copy[size] = 0;
	return copy;
}

void arena_free(struct arena *a)
{
	while (a->latest) {
		struct arena_block *before = a->latest->before;
		free(a->latest);
		a->latest = before;
	}
	*a = (struct arena){ 0 };
}

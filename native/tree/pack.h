/*
 * Packing: the tar of a plan (pack-plan.h), or only the digests of its files.
 *
 * The plan is cut into units. Threads read them into slots, a ring of buffers, and write each slot to its place in
 * the tar; the thread that called hashes the slots in their order. So files are read once, whatever is wanted of them.
 */
#ifndef TSB_PACK_H
#define TSB_PACK_H
#include "listing.h"
#include "pack-plan.h"
#include "sha256.h"
#include <string.h>

struct packed {
	uint8_t digest[SHA256_SIZE];
	uint64_t size;
	struct bytes checkpoints; /* struct checkpoint, by ascending offsets */
};

/* Of an entry with a source; numbers are doubles, for who reads them. */
struct packed_content {
	uint8_t digest[SHA256_SIZE]; /* zeros where it is neither known nor wanted */
	double offset, size;         /* where it lies in the tar */
};

static inline struct packed_content packed_content(const struct planned *planned, uint64_t offset)
{
	struct packed_content content = { .offset = (double)offset, .size = (double)planned->tar.size };
	if (planned->digest)
		memcpy(content.digest, planned->digest, sizeof content.digest);
	return content;
}

/* Called from the thread that packs. */
struct pack_listener {
	void *context;
	/* struct packed_content, in the order of the entries. */
	void (*contents)(void *context, const uint8_t *contents, size_t size);
	/* So many bytes from the beginning lie in the tar for good. NULL: nobody wants to know. */
	void (*grown)(void *context, uint64_t bytes);
};

/*
 * Writes the tar to the empty file `out`; -1: only digests are made. ESTALE and a file's path: it is not what was
 * planned.
 */
struct packed pack(const struct pack_plan *plan, struct request entries, int out, const struct pack_listener *listener);

#endif

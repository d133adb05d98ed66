/*
 * A listing's entries as the text that stands in the key of a COPY (src/solver/listing.ts), for as many entries as a loop
 * in JavaScript takes too long for.
 */
#ifndef TSB_LISTING_TEXT_H
#define TSB_LISTING_TEXT_H
#include "tree/listing-read.h"

enum listing_text_flags {
	LISTING_MODES = 1,
	LISTING_OWNERS = 2,
	LISTING_PATHS = 4, /* else the only entry is the thing itself */
	LISTING_SHORT = 8, /* digests as they are kept, not as they are hashed */
};

/* The records of a listing from one of its segments on; those before it are read for their names alone. */
struct listing_part {
	struct listing_reader reader;
	size_t first;
};

struct listing_contents {
	const uint8_t *digests; /* 32 bytes each, by the number of the file */
	uint32_t files;
};

/*
 * Bytes of the text, which is in `out` where it has that much room. -EINVAL where a listing makes no sense, -ENOMEM.
 */
int64_t listing_text(struct listing_part part, uint32_t flags, struct listing_contents contents, uint8_t *out,
		     uint64_t room);

#endif

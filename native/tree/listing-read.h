/* Records of listings (listing.h), read from the front; those that were left out, and what lies below them, are passed over. */
#ifndef TSB_LISTING_READ_H
#define TSB_LISTING_READ_H
#include "listing.h"

/* Set in `reserved` of a record that was left out (src/layer/listing.ts). */
#define LISTED_LEFT_OUT 1

struct listing_reader {
	const uint8_t *const *segments;
	const uint64_t *sizes;
	size_t count;
	/* The segment that is read, and how far. */
	size_t segment;
	uint64_t at;
	int skips;
	uint16_t skip_below;
};

/*
 * The next record: its head and where its name begins, behind which link and capability lie. 0 at the end; -1 where a record
 * makes no sense.
 */
int listing_next(struct listing_reader *reader, struct listed *listed, const uint8_t **name);

#endif

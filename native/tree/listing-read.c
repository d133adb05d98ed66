#include "listing-read.h"
#include <string.h>

int listing_next(struct listing_reader *reader, struct listed *listed, const uint8_t **name)
{
	while (reader->segment < reader->count) {
		uint64_t left = reader->sizes[reader->segment] - reader->at;
		if (left == 0) {
			reader->segment++;
			reader->at = 0;
			continue;
		}
		if (left < sizeof *listed)
			return -1;
		const uint8_t *record = reader->segments[reader->segment] + reader->at;
		memcpy(listed, record, sizeof *listed);
		size_t size = listed_size(listed);
		if (left < size || listed->type < LISTED_FILE || listed->type > LISTED_SOCKET)
			return -1;
		reader->at += size;
		if (reader->skips && listed->depth > reader->skip_below)
			continue;
		reader->skips = listed->reserved & LISTED_LEFT_OUT;
		reader->skip_below = listed->depth;
		if (reader->skips)
			continue;
		*name = record + sizeof *listed;
		return 1;
	}
	return 0;
}

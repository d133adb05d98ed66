/* Where the bytes of planned entries come from; one for each thread. */
#ifndef TSB_PACK_SOURCE_H
#define TSB_PACK_SOURCE_H
#include "pack-plan.h"

struct source {
	const struct pack_plan *plan;
	/* The file that is open. */
	int fd;
	/* The directory of the latest file, since neighbours mostly share it. */
	int directory;
	uint32_t root;
	char *path; /* of the latest file, beneath the root's descriptor */
	size_t path_length, directory_length;
};

void source_init(struct source *source, const struct pack_plan *plan);
/* Opens a file and sees that it is as planned: else ESTALE. */
void source_open(struct source *source, const struct planned *planned);
/* Exactly `size` bytes from `offset` of the entry on; calls for one entry go through it from its beginning. */
void source_read(struct source *source, const struct planned *planned, uint64_t offset, uint8_t *to, size_t size);
/* Sees that the file is still as planned. */
void source_close(struct source *source, const struct planned *planned);
void source_end(struct source *source);

#endif

/* One directory of a walk: its entries as records, sorted. */
#ifndef TSB_READ_DIRECTORY_H
#define TSB_READ_DIRECTORY_H
#include "walk.h"

struct found {
	uint32_t name, length; /* in `names` */
	int is_directory;
	struct statx st;
};

/* Memory that a thread uses again for each directory. */
struct reading {
	struct bytes names, found;
	uint8_t *entries; /* of getdents64(2) */
};

/*
 * Reads the names in `fd`, without those that `is_pruned`, stats and sorts them: `count` of struct found.
 * `path` is for messages.
 */
struct found *read_directory(struct reading *reading, int fd, const char *path, size_t *count,
			     int (*is_pruned)(void *context, const char *name, size_t length), void *context);

/* Appends the record of an entry of the directory `fd`. */
void put_record(struct bytes *out, const struct reading *reading, const struct found *found, int fd, uint16_t depth,
		uint32_t file_system, int capability);

#endif

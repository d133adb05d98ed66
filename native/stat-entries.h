/* Digests of a listing's files by what stat(2) says of them, out of the entries of src/solver/exec/context/stat-cache.ts. */
#ifndef TSB_STAT_ENTRIES_H
#define TSB_STAT_ENTRIES_H
#include "tree/listing-read.h"

struct stat_entry {
	/* File system 2, inode 2, size 2, mtime 2, ctime 2, both nanoseconds. */
	uint32_t key[12];
	uint8_t digest[32];
};

_Static_assert(sizeof(struct stat_entry) == 80, "as in stat-cache.ts");

/* What a file system is called in keys. */
struct stat_place {
	uint32_t tag[2];
	uint32_t is_trusted; /* 0: nothing that lies there is remembered */
};

struct stat_entries {
	const struct stat_entry *all;
	uint32_t count;
	uint8_t *used; /* by entry: set to 1 where it was found */
};

/* What is known of a listing's files, by their numbers. */
struct file_digests {
	uint8_t *digests; /* 32 bytes each */
	uint8_t *known;
	uint32_t files;
	const uint8_t *empty; /* of a file without content */
};

struct unknown_files {
	double files, bytes;
	double have_names; /* not 0: some of all the files have several */
};

/* Fills in what is not known yet; 0, -EINVAL where the listing makes no sense, -ENOMEM. */
int64_t find_digests(struct listing_reader reader, const struct stat_place *places, uint32_t place_count,
		     struct stat_entries entries, struct file_digests files, struct unknown_files *unknown);

#endif

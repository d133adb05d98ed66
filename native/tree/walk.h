/*
 * Walking: what lies below some directories, read by several threads, told in the order of listing.h.
 * Links are not followed; other file systems that are mounted below are entered.
 */
#ifndef TSB_WALK_H
#define TSB_WALK_H
#include "listing.h"

enum prune {
	PRUNE_ANYWHERE = 1, /* whatever has that name, instead of that path from the root */
	PRUNE_BELOW = 2,    /* only what is in it */
};

/* What is left out, with all that is in it. */
struct pruned {
	const uint8_t *text;
	uint32_t length;
	uint32_t how;
};

struct walk_root {
	int fd;
	const uint8_t *path; /* from fd */
	uint32_t length;
	const struct pruned *pruned;
	uint32_t pruned_count;
};

/* Where entries lie: the fields as statx(2) and statfs(2) have them. */
struct file_system {
	uint32_t major, minor;
	uint64_t type, id;
	uint64_t mount;
	uint32_t mount_is_unique, reserved;
};

_Static_assert(sizeof(struct file_system) == 40, "as in walk.ts");

/* `st` is that of an entry in the directory `fd`. */
void describe_file_system(int fd, const struct statx *st, struct file_system *to);

struct walk {
	const struct walk_root *roots;
	uint32_t root_count;
	int capabilities;
	uint64_t max_entries;
	/* What was met, once walk_all() has ended; allocated. */
	struct file_system *file_systems;
	uint32_t file_system_count;
	uint64_t entries;
};

/*
 * Calls `tell` with whole records, from this thread, in order. What cannot be read ends the job: ESTALE where an
 * entry went away meanwhile.
 */
void walk_all(struct walk *walk, void (*tell)(void *context, const uint8_t *records, size_t size), void *context);

#endif

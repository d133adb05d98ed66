/*
 * Entries of a tree as TypeScript reads them (src/layer/listing.ts): parents first, siblings in the order of their
 * stored names (a directory's with its `/`), so that all of it is in the order of a layer.
 */
#ifndef TSB_LISTING_H
#define TSB_LISTING_H
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

enum listed_type {
	LISTED_END = 0, /* the walk's root number `mode` had `size` entries, which came before */
	LISTED_FILE = 1,
	LISTED_DIRECTORY = 2,
	LISTED_SYMLINK = 3,
	LISTED_CHAR = 4,
	LISTED_BLOCK = 5,
	LISTED_FIFO = 6,
	LISTED_SOCKET = 7,
};

/* Followed by the name, the link's target, the capability, and zeros up to a multiple of 8. */
struct listed {
	uint16_t name_length, link_length;
	uint16_t depth; /* 0: in the root itself */
	uint8_t type, capability_length;
	uint32_t mode; /* 07777 */
	uint32_t uid, gid, nlink;
	uint64_t size; /* of a device: major << 32 | minor */
	int64_t mtime, ctime;
	uint32_t mtime_ns, ctime_ns;
	uint64_t ino;
	uint32_t file_system; /* index of those that the walk met */
	uint32_t reserved;
};

_Static_assert(sizeof(struct listed) == 72, "as in listing.ts");

struct bytes {
	uint8_t *data;
	size_t used, room;
};

/* Room for `size` more bytes, which are the caller's to fill; fail() where there is no memory. */
uint8_t *extend(struct bytes *bytes, size_t size);

/* Of the record, with what follows. */
static inline size_t listed_size(const struct listed *listed)
{
	size_t size = sizeof *listed + listed->name_length + listed->link_length + listed->capability_length;
	return (size + 7) & ~(size_t)7;
}

/* What statx(2) says; lengths, depth and file system are left 0. */
struct listed listed_of(const struct statx *st);

/* Order of stored names. */
int compare_stored(const char *a, size_t a_length, int a_directory, const char *b, size_t b_length, int b_directory);

#endif

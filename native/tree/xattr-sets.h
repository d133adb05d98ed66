/* Sets of extended attributes, each attribute and each set kept once however many files have it. */
#ifndef TSB_XATTR_SETS_H
#define TSB_XATTR_SETS_H
#include "arena.h"
#include "tar-read.h"

/* What Linux hands out by listxattr(2), and what it takes as one value (an on-disk size has 16 bits). */
#define MAX_XATTR_NAMES 65536U
#define MAX_XATTR_VALUE 65535U
#define MAX_XATTR_NAME 255U

struct xattr {
	const char *name, *value;
	uint32_t name_size, size;
	uint32_t users; /* files that have it; counted by whoever writes them down */
	uint32_t place; /* likewise */
};

struct xattr_set {
	uint32_t first, count; /* of members */
};

struct xattr_sets {
	struct xattr *all;
	uint32_t count, room;
	uint32_t *members;
	uint32_t member_count, member_room;
	struct xattr_set *sets; /* 0 is the empty one */
	uint32_t set_count, set_room;
	uint32_t *slots, slot_count; /* of the table of single attributes */
	uint64_t secret;
};

void xattrs_open(struct xattr_sets *x, uint64_t secret);
void xattrs_close(struct xattr_sets *x);
/*
 * What layers keep of an entry's attributes, on top of the set `before`. fail() where a name or a value is longer than
 * Linux takes, `path` for the message.
 */
uint32_t xattrs_set(struct xattr_sets *x, struct arena *text, uint32_t before, const struct tar_entry *entry);
/* The set `before` and one attribute more. */
uint32_t xattrs_with(struct xattr_sets *x, struct arena *text, uint32_t before, const char *name, uint32_t name_size,
		     const void *value, uint32_t size);

/* Of bytes, so that nobody who does not know the secret can make many that are equal. */
uint64_t secret_hash(uint64_t secret, uint64_t seed, const void *bytes, size_t size);

#endif

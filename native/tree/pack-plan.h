/*
 * What shall be packed: entries in the order of the layer, as TypeScript encodes them (src/layer/pack-plan.ts), or
 * pack-expand.h makes them of listings.
 *
 *   u32 roots; each: u32 descriptor, u32 cut, u32 size and bytes of a prefix
 *   entries; each, nothing aligned:
 *     u8 type ('0' to '6'), u8 flags, u16 mode, u32 uid, u32 gid, i64 mtime, u64 size
 *     u16 keep, u16 more, bytes   its path: so much of the path before, and these
 *     PLAN_LINK        u16 size, bytes
 *     PLAN_CAPABILITY  u8 size, bytes
 *     PLAN_DEVICE      u32 major, u32 minor
 *     PLAN_KNOWN       32 bytes: the content's digest
 *     SOURCE_FILE      u32 root, u64 inode, i64 ctime, u32 its nanoseconds. The file is the root's prefix and the
 *                      entry's path without its first `cut` bytes, beneath the descriptor
 *     SOURCE_RANGE     u32 descriptor, u64 offset
 *     SOURCE_INLINE    `size` bytes
 */
#ifndef TSB_PACK_PLAN_H
#define TSB_PACK_PLAN_H
#include "tar-write.h"
#include "tree.h"

#define PLAN_MAX_PATH UINT16_MAX

enum plan_source { SOURCE_NONE = 0, SOURCE_FILE = 1, SOURCE_RANGE = 2, SOURCE_INLINE = 3 };

enum plan_flags {
	PLAN_SOURCE = 3,
	PLAN_DIGEST = 4, /* the content's digest is wanted */
	PLAN_LINK = 8,
	PLAN_CAPABILITY = 16,
	PLAN_DEVICE = 32,
	PLAN_KNOWN = 64,
};

struct pack_root {
	uint32_t descriptor, cut, length;
	const uint8_t *prefix;
};

/* SHA-256 of a tar, at one place on the way through it. */
struct checkpoint {
	uint64_t offset; /* a multiple of 64 */
	uint32_t state[8];
};

/* A tar that much of the plan's lies in too; all zeros: there is none. */
struct earlier_tar {
	uint32_t descriptor;
	const uint8_t *checkpoints; /* by ascending offsets */
	size_t count;
};

struct pack_plan {
	struct pack_root *roots;
	uint32_t root_count, entry_count;
	struct earlier_tar earlier;
	/* What the plan calls descriptor 0. */
	int first_fd;
	uint32_t descriptor_count;
};

/* Reads entries from the front. The path of the latest is in `path`, which has room for PLAN_MAX_PATH. */
struct plan_reader {
	const struct pack_plan *plan;
	struct request rest;
	char *path;
	size_t path_length;
};

struct planned {
	struct tar_entry tar; /* its path is the reader's */
	enum plan_source source;
	int wants_digest;
	const uint8_t *digest; /* NULL: it is not known */
	/* The root of a file, or the descriptor of a range. */
	uint32_t from;
	uint64_t inode, offset;
	int64_t ctime;
	uint32_t ctime_ns;
	const uint8_t *bytes;
};

/* Takes the roots. -1 where they make no sense. */
int plan_begin(struct pack_plan *plan, struct request *r, int first_fd, uint32_t descriptor_count);
int plan_next(struct plan_reader *reader, struct planned *planned);

#endif

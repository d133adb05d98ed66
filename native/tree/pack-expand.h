/*
 * A request's plan made of blocks, entries as they are (pack-plan.h) and whole listings (listing.h), as entries alone.
 *
 *   u32 roots, as in pack-plan.h
 *   u32 blocks; each: u32 kind
 *     BLOCK_ENTRIES  u32 how many, u32 size and bytes of entries; the first one keeps nothing of a path before it
 *     BLOCK_EARLIER  for the trees that follow: u32 descriptor, u32 how many; each 48 bytes: what lies in that descriptor,
 *                    a digest, its place and its size as doubles
 *     BLOCK_CHECKPOINTS  u32 descriptor of an earlier tar, u32 how many; each u64 offset and eight u32: the state of its
 *                    SHA-256 there. Entries that lie in it as they are are not put together again
 *     BLOCK_TREE     u32 root, u32 flags, u32 uid, u32 gid, u32 mode, i64 latest mtime
 *                    u32 size and bytes of what stands before every path
 *                    u32 files: room of the next two; u8 each: the digest is known; 32 bytes each: the digest
 *                    u32 contents; each: u32 number of a file, u32 size and bytes: what is in it, by ascending numbers
 *                    u32 size and bytes of records
 *
 * Files of a tree are counted from 0, without those that are left out. Of several names of a file each is a file.
 */
#ifndef TSB_PACK_EXPAND_H
#define TSB_PACK_EXPAND_H
#include "listing.h"
#include "pack-plan.h"

enum pack_block { BLOCK_ENTRIES = 0, BLOCK_TREE = 1, BLOCK_EARLIER = 2, BLOCK_CHECKPOINTS = 3 };

enum tree_flags {
	TREE_OWNER = 1,   /* uid and gid are those of all entries */
	TREE_MODE = 2,    /* so is the mode, but for symlinks and sockets */
	TREE_DIGESTS = 4, /* those that are not known are wanted */
};

#define EARLIER_SIZE 48
#define CHECKPOINT_SIZE 40

/* Appends entries to `flat` and sets the plan's count of them. -1 where it makes no sense. */
int pack_expand(struct pack_plan *plan, struct request *r, struct bytes *flat);

#endif

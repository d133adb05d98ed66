/*
 * SHA-256 of a tar that is packed, slot by slot. What the earlier tar has at the same place at the beginning is not
 * hashed again: the state of its own SHA-256 at checkpoints was kept.
 */
#ifndef TSB_PACK_HASH_H
#define TSB_PACK_HASH_H
#include "pack-slots.h"
#include "sha256.h"

struct pack_hash {
	const struct pack_plan *plan;
	struct sha256 sha;
	uint64_t at; /* bytes of the tar so far */
	int is_passing; /* all of them are the earlier tar's; none was hashed */
	struct bytes checkpoints; /* of the new tar: struct checkpoint */
	uint64_t next_checkpoint;
};

void pack_hash_begin(struct pack_hash *hash, const struct pack_plan *plan);
void pack_hash_slot(struct pack_hash *hash, const struct slot *slot);
void pack_hash_end(struct pack_hash *hash, const void *end, size_t size, uint8_t digest[SHA256_SIZE]);

#endif

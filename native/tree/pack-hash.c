#include "pack-hash.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Half of that is hashed again on average. */
#define INTERVAL (4U << 20)
#define CHUNK (256 << 10)

void pack_hash_begin(struct pack_hash *hash, const struct pack_plan *plan)
{
	*hash = (struct pack_hash){ .plan = plan, .is_passing = plan->earlier.count > 0, .next_checkpoint = INTERVAL };
	sha256_begin(&hash->sha);
}

static struct checkpoint earlier_checkpoint(const struct earlier_tar *earlier, size_t index)
{
	struct checkpoint checkpoint;
	memcpy(&checkpoint, earlier->checkpoints + index * sizeof checkpoint, sizeof checkpoint);
	return checkpoint;
}

static void keep(struct pack_hash *hash, const struct checkpoint *checkpoint)
{
	memcpy(extend(&hash->checkpoints, sizeof *checkpoint), checkpoint, sizeof *checkpoint);
	hash->next_checkpoint = checkpoint->offset + INTERVAL;
}

/* Goes on at the last of the earlier checkpoints that was passed; the new tar has all up to that as well. */
static void enter(struct pack_hash *hash)
{
	const struct earlier_tar *earlier = &hash->plan->earlier;
	for (size_t i = 0; i < earlier->count; i++) {
		struct checkpoint checkpoint = earlier_checkpoint(earlier, i);
		if (checkpoint.offset > hash->at || checkpoint.offset < hash->sha.size || checkpoint.offset % sizeof hash->sha.block)
			break;
		keep(hash, &checkpoint);
		memcpy(hash->sha.state, checkpoint.state, sizeof checkpoint.state);
		hash->sha.size = checkpoint.offset;
	}
}

/* Hashes what was passed since the last checkpoint. */
static void catch_up(struct pack_hash *hash)
{
	hash->is_passing = 0;
	enter(hash);
	uint8_t *bytes = allocate(CHUNK);
	while (hash->sha.size < hash->at) {
		uint64_t left = hash->at - hash->sha.size;
		ssize_t n = pread(hash->plan->first_fd + (int)hash->plan->earlier.descriptor, bytes,
				  left < CHUNK ? (size_t)left : CHUNK, (off_t)hash->sha.size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			fail(n < 0 ? errno : EIO, "read what is to be packed");
		sha256_add(&hash->sha, bytes, (size_t)n);
	}
	free(bytes);
}

void pack_hash_slot(struct pack_hash *hash, const struct slot *slot)
{
	if (hash->is_passing && !slot->is_same)
		catch_up(hash);
	if (!hash->is_passing) {
		/* Slots begin at multiples of 512. */
		struct checkpoint here = { .offset = hash->at };
		memcpy(here.state, hash->sha.state, sizeof here.state);
		if (hash->at >= hash->next_checkpoint)
			keep(hash, &here);
		sha256_add(&hash->sha, slot->bytes, slot->used);
	}
	hash->at += slot->used;
}

void pack_hash_end(struct pack_hash *hash, const void *end, size_t size, uint8_t digest[SHA256_SIZE])
{
	if (hash->is_passing)
		catch_up(hash);
	sha256_add(&hash->sha, end, size);
	sha256_end(&hash->sha, digest);
}

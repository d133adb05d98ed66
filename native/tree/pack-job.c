/*
 * pack: a plan becomes a tar, or only digests of files.
 *
 * request: u32 flags (1: write a tar, 2: tell how it grows), a plan (pack-expand.h). descriptors: with a tar its empty file, then those
 * of the plan.
 * DATA: of each entry with a source, in order, 48 bytes as in BLOCK_EARLIER, the digest zeros where it is neither known
 * nor wanted. PROGRESS, if asked for: so many bytes of the tar can be read already. DONE: 32 bytes SHA-256 of the tar, u64 its size, and its checkpoints, as in
 * BLOCK_CHECKPOINTS.
 */
#include "pack.h"
#include "listing.h"
#include "pack-expand.h"
#include <errno.h>
#include <string.h>

#define FRAME (32 << 10)

static void tell(void *context, const uint8_t *contents, size_t size)
{
	struct bytes *frame = context;
	if (size > 0)
		memcpy(extend(frame, size), contents, size);
	if (frame->used < FRAME)
		return;
	answer(ANSWER_DATA, frame->data, frame->used);
	frame->used = 0;
}

static void tell_grown(void *context, uint64_t bytes)
{
	(void)context;
	answer(ANSWER_PROGRESS, &bytes, sizeof bytes);
}

void pack_job(struct request *r)
{
	uint32_t flags = take_u32(r);
	int writes = (int)(flags & 1);
	struct pack_plan plan;
	struct bytes frame = { 0 };
	struct bytes flat = { 0 };
	if (plan_begin(&plan, r, FIRST_FD + writes, (uint32_t)(descriptors(writes) - writes)) < 0 ||
	    pack_expand(&plan, r, &flat) < 0)
		fail(EINVAL, "the plan of a layer");
	static const uint8_t nothing[1];
	const uint8_t *first = flat.data ? flat.data : nothing;
	struct request entries = { first, first + flat.used, 0 };
	struct pack_listener listener = { .context = &frame, .contents = tell, .grown = flags & 2 ? tell_grown : NULL };
	struct packed packed = pack(&plan, entries, writes ? FIRST_FD : -1, &listener);
	if (frame.used > 0)
		answer(ANSWER_DATA, frame.data, frame.used);
	struct bytes end = { 0 };
	memcpy(extend(&end, SHA256_SIZE), packed.digest, SHA256_SIZE);
	memcpy(extend(&end, sizeof packed.size), &packed.size, sizeof packed.size);
	if (packed.checkpoints.used > 0)
		memcpy(extend(&end, packed.checkpoints.used), packed.checkpoints.data, packed.checkpoints.used);
	done(end.data, end.used);
}

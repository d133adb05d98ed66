/*
 * walk: what lies below some directories.
 *
 * request: u32 flags (1: capabilities), u64 at most so many entries, u32 roots; each: u32 descriptor, path from it,
 * u32 pruned; each: u32 enum prune, text. descriptors: directories.
 * DATA: records of listing.h, whole ones; that of a root's end comes alone. DONE: u64 entries, struct file_system each.
 */
#include "tree.h"
#include "walk.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FRAME (32 << 10)

static struct pruned *take_pruned(struct request *r, uint32_t *count)
{
	*count = take_u32(r);
	/* Each takes 8 bytes at least. */
	if (*count > (size_t)(r->end - r->at) / 8)
		fail(EINVAL, "the request");
	struct pruned *pruned = allocate(*count * sizeof *pruned);
	for (uint32_t i = 0; i < *count; i++) {
		pruned[i].how = take_u32(r);
		pruned[i].text = take_bytes(r, &pruned[i].length);
	}
	return pruned;
}

static struct walk_root *take_roots(struct request *r, uint32_t *count)
{
	*count = take_u32(r);
	if (*count > (size_t)(r->end - r->at) / 12)
		fail(EINVAL, "the request");
	struct walk_root *roots = allocate(*count * sizeof *roots);
	for (uint32_t i = 0; i < *count; i++) {
		uint32_t descriptor = take_u32(r);
		if (descriptor >= (uint32_t)descriptors(1))
			fail(EINVAL, "the request");
		roots[i].fd = FIRST_FD + (int)descriptor;
		roots[i].path = take_bytes(r, &roots[i].length);
		roots[i].pruned = take_pruned(r, &roots[i].pruned_count);
	}
	return roots;
}

static void send(struct bytes *frame)
{
	if (frame->used > 0)
		answer(ANSWER_DATA, frame->data, frame->used);
	frame->used = 0;
}

static void tell(void *context, const uint8_t *records, size_t size)
{
	struct bytes *frame = context;
	for (size_t at = 0; at < size;) {
		struct listed listed;
		memcpy(&listed, records + at, sizeof listed);
		size_t one = listed_size(&listed);
		if (frame->used + one > FRAME || listed.type == LISTED_END)
			send(frame);
		memcpy(extend(frame, one), records + at, one);
		if (listed.type == LISTED_END)
			send(frame);
		at += one;
	}
}

void walk_job(struct request *r)
{
	struct walk walk = { .capabilities = (int)(take_u32(r) & 1), .max_entries = take_u64(r) };
	walk.roots = take_roots(r, &walk.root_count);
	if (r->bad)
		fail(EINVAL, "the request");
	struct bytes frame = { 0 };
	walk_all(&walk, tell, &frame);
	send(&frame);
	size_t known = walk.file_system_count * sizeof *walk.file_systems;
	struct bytes end = { 0 };
	memcpy(extend(&end, sizeof walk.entries), &walk.entries, sizeof walk.entries);
	if (known > 0)
		memcpy(extend(&end, known), walk.file_systems, known);
	done(end.data, end.used);
}

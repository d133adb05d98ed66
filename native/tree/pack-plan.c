#include "pack-plan.h"
#include "sha256.h"
#include <stdlib.h>
#include <string.h>

static const uint8_t *take_raw(struct request *r, size_t size)
{
	static const uint8_t nothing[1];
	if (r->bad || (size_t)(r->end - r->at) < size) {
		r->bad = 1;
		return nothing;
	}
	const uint8_t *bytes = r->at;
	r->at += size;
	return bytes;
}

static uint64_t take_number(struct request *r, size_t size)
{
	uint64_t value = 0;
	const uint8_t *bytes = take_raw(r, size);
	if (!r->bad)
		memcpy(&value, bytes, size);
	return value;
}

int plan_begin(struct pack_plan *plan, struct request *r, int first_fd, uint32_t descriptor_count)
{
	*plan = (struct pack_plan){ .first_fd = first_fd, .descriptor_count = descriptor_count };
	plan->root_count = take_u32(r);
	if (r->bad || plan->root_count > (size_t)(r->end - r->at) / 12)
		return -1;
	plan->roots = calloc(plan->root_count + 1, sizeof *plan->roots);
	if (!plan->roots)
		return -1;
	for (uint32_t i = 0; i < plan->root_count; i++) {
		struct pack_root *root = &plan->roots[i];
		root->descriptor = take_u32(r);
		root->cut = take_u32(r);
		root->prefix = take_bytes(r, &root->length);
		if (r->bad || root->descriptor >= descriptor_count || root->length > PLAN_MAX_PATH)
			return -1;
	}
	return r->bad ? -1 : 0;
}

static int take_path(struct plan_reader *reader)
{
	struct request *r = &reader->rest;
	size_t keep = take_number(r, 2), more = take_number(r, 2);
	const uint8_t *bytes = take_raw(r, more);
	if (r->bad || keep > reader->path_length || keep + more > PLAN_MAX_PATH || memchr(bytes, 0, more))
		return -1;
	memcpy(reader->path + keep, bytes, more);
	reader->path_length = keep + more;
	return reader->path_length > 0 ? 0 : -1;
}

static void take_extras(struct request *r, int flags, struct tar_entry *tar)
{
	if (flags & PLAN_LINK) {
		tar->link_length = take_number(r, 2);
		tar->link = (const char *)take_raw(r, tar->link_length);
	}
	if (flags & PLAN_CAPABILITY) {
		tar->capability_length = take_number(r, 1);
		tar->capability = take_raw(r, tar->capability_length);
	}
	if (flags & PLAN_DEVICE) {
		tar->major = (uint32_t)take_number(r, 4);
		tar->minor = (uint32_t)take_number(r, 4);
	}
}

/* false where it leads nowhere. */
static int take_source(struct request *r, const struct plan_reader *reader, struct planned *planned)
{
	const struct pack_plan *plan = reader->plan;
	switch (planned->source) {
	case SOURCE_NONE:
		return planned->tar.size == 0;
	case SOURCE_FILE:
		planned->from = (uint32_t)take_number(r, 4);
		planned->inode = take_number(r, 8);
		planned->ctime = (int64_t)take_number(r, 8);
		planned->ctime_ns = (uint32_t)take_number(r, 4);
		return planned->from < plan->root_count && plan->roots[planned->from].cut <= reader->path_length;
	case SOURCE_RANGE:
		planned->from = (uint32_t)take_number(r, 4);
		planned->offset = take_number(r, 8);
		return planned->from < plan->descriptor_count && planned->offset <= INT64_MAX - planned->tar.size;
	case SOURCE_INLINE:
		planned->bytes = take_raw(r, planned->tar.size);
		return 1;
	}
	return 0;
}

int plan_next(struct plan_reader *reader, struct planned *planned)
{
	struct request *r = &reader->rest;
	struct tar_entry *tar = &planned->tar;
	*planned = (struct planned){ .tar = { .link = "" } };
	tar->type = (char)take_number(r, 1);
	int flags = (int)take_number(r, 1);
	tar->mode = (uint32_t)take_number(r, 2);
	tar->uid = (uint32_t)take_number(r, 4);
	tar->gid = (uint32_t)take_number(r, 4);
	tar->mtime = (int64_t)take_number(r, 8);
	tar->size = take_number(r, 8);
	if (r->bad || tar->type < '0' || tar->type > '6' || (tar->size > 0 && tar->type != '0') || tar->size > INT64_MAX / 4)
		return -1;
	if (take_path(reader) < 0)
		return -1;
	take_extras(r, flags, tar);
	if (flags & PLAN_KNOWN)
		planned->digest = take_raw(r, SHA256_SIZE);
	planned->source = flags & PLAN_SOURCE;
	planned->wants_digest = (flags & PLAN_DIGEST) != 0;
	if (!take_source(r, reader, planned) || r->bad)
		return -1;
	tar->path = reader->path;
	tar->path_length = reader->path_length;
	return 0;
}

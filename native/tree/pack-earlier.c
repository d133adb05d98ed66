#include "pack-earlier.h"
#include "pack.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

static struct plan_reader read_unit(const struct pack_plan *plan, const struct unit *unit, char *path)
{
	memcpy(path, unit->path, unit->path_length);
	return (struct plan_reader){ plan, unit->at, path, unit->path_length };
}

static int earlier_fd(const struct pack_plan *plan)
{
	return plan->first_fd + (int)plan->earlier.descriptor;
}

/*
 * Where the unit begins in the earlier tar, if all of its contents come from there in one piece; -1 if not. One without
 * contents may be at the same place.
 */
static int64_t find_unit(const struct pack_plan *plan, const struct unit *unit, char *path)
{
	if (plan->earlier.count == 0)
		return -1;
	struct plan_reader reader = read_unit(plan, unit, path);
	uint64_t at = 0;
	int64_t start = -1;
	for (uint32_t i = 0; i < unit->count; i++) {
		struct planned planned;
		if (plan_next(&reader, &planned) < 0)
			fail(EINVAL, "the plan of a layer");
		at += tar_header_size(&planned.tar);
		if (planned.source != SOURCE_NONE) {
			int is_earlier = planned.source == SOURCE_RANGE && planned.from == plan->earlier.descriptor;
			if (!is_earlier || planned.offset < at || (start >= 0 && (uint64_t)start + at != planned.offset))
				return -1;
			start = (int64_t)(planned.offset - at);
		}
		at += planned.tar.size + tar_padding(planned.tar.size);
	}
	return start < 0 ? (int64_t)unit->offset : start;
}

/* -1 where the earlier tar ends before that. */
static int read_earlier(const struct pack_plan *plan, uint8_t *to, size_t size, int64_t from)
{
	for (size_t done = 0; done < size;) {
		ssize_t n = pread(earlier_fd(plan), to + done, size - done, from + (int64_t)done);
		if (n < 0 && errno != EINTR)
			fail(errno, "read what is to be packed");
		if (n == 0)
			return -1;
		if (n > 0)
			done += (size_t)n;
	}
	return 0;
}

static int is_zero(const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i])
			return 0;
	return 1;
}

/* Headers that fit on the stack are compared; longer ones are rare. */
static int is_header(const struct tar_entry *tar, const uint8_t *bytes)
{
	uint8_t header[8 * TAR_BLOCK];
	size_t size = tar_header_size(tar);
	if (size > sizeof header)
		return 0;
	tar_header(tar, header);
	return memcmp(header, bytes, size) == 0;
}

static int holds_unit(const struct pack_plan *plan, const struct unit *unit, struct slot *slot, char *path)
{
	struct plan_reader reader = read_unit(plan, unit, path);
	const uint8_t *at = slot->bytes;
	for (uint32_t i = 0; i < unit->count; i++) {
		struct planned planned;
		if (plan_next(&reader, &planned) < 0)
			fail(EINVAL, "the plan of a layer");
		if (!is_header(&planned.tar, at))
			return 0;
		at += tar_header_size(&planned.tar);
		struct packed_content content = packed_content(&planned, unit->offset + (uint64_t)(at - slot->bytes));
		if (planned.source != SOURCE_NONE)
			memcpy(extend(&slot->contents, sizeof content), &content, sizeof content);
		at += planned.tar.size;
		size_t padding = tar_padding(planned.tar.size);
		if (!is_zero(at, padding))
			return 0;
		at += padding;
	}
	return 1;
}

int fill_from_earlier(const struct pack_plan *plan, const struct unit *unit, struct slot *slot, char *path)
{
	int64_t start = find_unit(plan, unit, path);
	if (start < 0 || read_earlier(plan, slot->bytes, (size_t)unit->size, start) < 0)
		return 0;
	if (!holds_unit(plan, unit, slot, path)) {
		slot->contents.used = 0;
		return 0;
	}
	slot->used = (size_t)unit->size;
	slot->is_same = (uint64_t)start == unit->offset;
	return 1;
}

int is_in_earlier(const struct pack_plan *plan, const struct unit *unit, char *path)
{
	int64_t start = find_unit(plan, unit, path);
	if (start < 0 || (uint64_t)start != unit->offset)
		return 0;
	struct plan_reader reader = read_unit(plan, unit, path);
	struct planned planned;
	uint8_t header[8 * TAR_BLOCK], padding[TAR_BLOCK];
	if (plan_next(&reader, &planned) < 0)
		fail(EINVAL, "the plan of a layer");
	size_t size = tar_header_size(&planned.tar), rest = tar_padding(planned.tar.size);
	if (size > sizeof header || read_earlier(plan, header, size, start) < 0 || !is_header(&planned.tar, header))
		return 0;
	int64_t end = start + (int64_t)(size + planned.tar.size);
	return read_earlier(plan, padding, rest, end) == 0 && is_zero(padding, rest);
}

#include "pack-units.h"
#include "listing.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SIZE (INT64_MAX / 4)

static struct unit *begin_unit(struct bytes *all, const struct plan_reader *before, uint64_t offset, uint64_t slot)
{
	struct unit *unit = (struct unit *)extend(all, sizeof *unit);
	*unit = (struct unit){
		.at = before->rest,
		.path = allocate(before->path_length),
		.path_length = before->path_length,
		.offset = offset,
		.first_slot = slot,
	};
	memcpy(unit->path, before->path, before->path_length);
	return unit;
}

/* Bytes of a slot that an entry takes. */
static uint64_t cost_of(const struct planned *planned, int digests_only)
{
	if (digests_only)
		return planned->tar.size;
	return tar_header_size(&planned->tar) + planned->tar.size + tar_padding(planned->tar.size);
}

/* What could be written and never read again is refused. */
static void check_names(const struct tar_entry *tar)
{
	size_t path = tar->path_length + (tar->type == '5');
	if (path > TAR_LONGEST_NAME)
		fail(ENAMETOOLONG, "%zu", path);
	if (tar->link_length > TAR_LONGEST_NAME)
		fail(ENAMETOOLONG, "%zu", tar->link_length);
}

struct units cut_into_units(const struct pack_plan *plan, struct request entries, int digests_only)
{
	struct bytes all = { 0 };
	struct plan_reader reader = { .plan = plan, .rest = entries, .path = allocate(PLAN_MAX_PATH) };
	char *before_path = allocate(PLAN_MAX_PATH);
	struct units units = { 0 };
	struct unit *unit = NULL;
	for (uint32_t i = 0; i < plan->entry_count; i++) {
		struct plan_reader before = reader;
		struct planned planned;
		/* why: a unit needs the path before its first entry, which reading that entry replaces. */
		memcpy(before_path, reader.path, reader.path_length);
		before.path = before_path;
		if (plan_next(&reader, &planned) < 0)
			fail(EINVAL, "the plan of a layer, entry %u", i);
		if (!digests_only)
			check_names(&planned.tar);
		uint64_t cost = cost_of(&planned, digests_only);
		if (!unit || unit->count == UNIT_MAX_COUNT || unit->size + cost > SLOT_SIZE) {
			unit = begin_unit(&all, &before, units.size, units.slots);
			units.slots += digests_only || cost <= SLOT_SIZE ? 1 : (cost + SLOT_SIZE - 1) / SLOT_SIZE;
		}
		unit->count++;
		unit->size += cost;
		units.size += cost;
		if (planned.source == SOURCE_RANGE)
			units.ranges += planned.tar.size;
		if (units.size > MAX_SIZE)
			fail(EFBIG, "the layer");
	}
	if (reader.rest.at != reader.rest.end)
		fail(EINVAL, "the plan of a layer");
	free(reader.path);
	free(before_path);
	units.all = (struct unit *)all.data;
	units.count = all.used / sizeof *units.all;
	return units;
}

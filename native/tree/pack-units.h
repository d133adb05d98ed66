/* A plan cut into units, each read by one thread. */
#ifndef TSB_PACK_UNITS_H
#define TSB_PACK_UNITS_H
#include "pack-plan.h"

#define SLOT_SIZE (512 << 10)
/* So many entries are a unit's share even if they are empty. */
#define UNIT_MAX_COUNT 1024

struct unit {
	struct request at; /* its first entry */
	char *path;        /* before it */
	size_t path_length;
	uint32_t count;
	uint64_t offset, size; /* in the tar; all of a unit of several entries fits into one slot */
	uint64_t first_slot;
};

struct units {
	struct unit *all;
	size_t count;
	uint64_t slots, size;
	uint64_t ranges; /* bytes of contents that lie in other tars */
};

/* Checks the whole plan; fail() where it makes no sense. With `digests_only` there is no tar, and a slot per unit. */
struct units cut_into_units(const struct pack_plan *plan, struct request entries, int digests_only);

#endif

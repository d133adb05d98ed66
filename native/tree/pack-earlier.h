/*
 * Units that lie in an earlier tar as they are: one read each, instead of one for each file. What was read is compared
 * with the headers that the plan asks for.
 */
#ifndef TSB_PACK_EARLIER_H
#define TSB_PACK_EARLIER_H
#include "pack-slots.h"
#include "pack-units.h"

/*
 * Fills an empty slot with a unit that fits into it, and says what contents there are. 0: nothing was done. `path` has
 * room for PLAN_MAX_PATH.
 */
int fill_from_earlier(const struct pack_plan *plan, const struct unit *unit, struct slot *slot, char *path);

/* Whether a unit that is larger than a slot lies in the earlier tar, at the same place. */
int is_in_earlier(const struct pack_plan *plan, const struct unit *unit, char *path);

#endif

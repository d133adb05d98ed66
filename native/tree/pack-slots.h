/* The ring of buffers between those who read and the one who hashes. */
#ifndef TSB_PACK_SLOTS_H
#define TSB_PACK_SLOTS_H
#include "listing.h"
#include "pack-units.h"
#include <pthread.h>

struct slot {
	uint64_t number; /* of all slots of the tar, that which is in it, or will be next */
	uint8_t *bytes;
	size_t used;
	struct bytes contents; /* of pack.h */
	int is_same; /* the earlier tar has it at the same place */
	int is_filled, users;
};

struct slots {
	struct slot *ring;
	size_t count;
	/* Buffers that no slot has; the latest is used first, which the processor still has in its cache. */
	uint8_t **spare;
	size_t spare_count;
	/* What is hashed next, and how many from there on may be filled. */
	uint64_t at, window;
	pthread_mutex_t lock;
	pthread_cond_t filled, freed;
};

/* At most `count` at a time, of which `window` are used at first. */
struct slots *make_slots(size_t count, size_t window);
/* From now on so many more may be filled at a time, up to their count. */
void widen_slots(struct slots *slots, size_t more);
/* Waits until the slot may be filled. */
struct slot *take_slot(struct slots *slots, uint64_t number);
/* Gives it to the one who hashes; the caller may still read it. */
void publish_slot(struct slots *slots, struct slot *slot);
/* Waits until it was published. */
struct slot *next_slot(struct slots *slots, uint64_t number);
/* The caller does not look at it any more. Both users must say so. */
void leave_slot(struct slots *slots, struct slot *slot);
/* Whether both users have left it. */
int is_left(struct slots *slots, uint64_t number);

#endif

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
	pthread_mutex_t lock;
	pthread_cond_t filled, freed;
};

struct slots *make_slots(size_t count);
/* Waits until the slot may be filled. */
struct slot *take_slot(struct slots *slots, uint64_t number);
/* Gives it to the one who hashes; the caller may still read it. */
void publish_slot(struct slots *slots, struct slot *slot);
/* Waits until it was published. */
struct slot *next_slot(struct slots *slots, uint64_t number);
/* The caller does not look at it any more. Both users must say so. */
void leave_slot(struct slots *slots, struct slot *slot);

#endif

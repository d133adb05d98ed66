#include "pack-slots.h"
#include <string.h>

#define USERS 2

struct slots *make_slots(size_t count, size_t window)
{
	struct slots *slots = allocate(sizeof *slots);
	*slots = (struct slots){
		.ring = allocate(count * sizeof *slots->ring),
		.spare = allocate(count * sizeof *slots->spare),
		.count = count,
		.window = window,
	};
	pthread_mutex_init(&slots->lock, NULL);
	pthread_cond_init(&slots->filled, NULL);
	pthread_cond_init(&slots->freed, NULL);
	for (size_t i = 0; i < count; i++)
		slots->ring[i] = (struct slot){ .number = i };
	return slots;
}

void widen_slots(struct slots *slots, size_t more)
{
	pthread_mutex_lock(&slots->lock);
	slots->window += more;
	pthread_cond_broadcast(&slots->freed);
	pthread_mutex_unlock(&slots->lock);
}

struct slot *take_slot(struct slots *slots, uint64_t number)
{
	struct slot *slot = &slots->ring[number % slots->count];
	pthread_mutex_lock(&slots->lock);
	while (slot->number != number || number >= slots->at + slots->window)
		pthread_cond_wait(&slots->freed, &slots->lock);
	slot->bytes = slots->spare_count > 0 ? slots->spare[--slots->spare_count] : NULL;
	pthread_mutex_unlock(&slots->lock);
	if (!slot->bytes)
		slot->bytes = allocate(SLOT_SIZE);
	slot->used = slot->contents.used = 0;
	slot->is_same = 0;
	return slot;
}

void publish_slot(struct slots *slots, struct slot *slot)
{
	pthread_mutex_lock(&slots->lock);
	slot->is_filled = 1;
	slot->users = USERS;
	pthread_cond_signal(&slots->filled);
	pthread_mutex_unlock(&slots->lock);
}

struct slot *next_slot(struct slots *slots, uint64_t number)
{
	struct slot *slot = &slots->ring[number % slots->count];
	pthread_mutex_lock(&slots->lock);
	slots->at = number;
	pthread_cond_broadcast(&slots->freed);
	while (!slot->is_filled || slot->number != number)
		pthread_cond_wait(&slots->filled, &slots->lock);
	pthread_mutex_unlock(&slots->lock);
	return slot;
}

void leave_slot(struct slots *slots, struct slot *slot)
{
	pthread_mutex_lock(&slots->lock);
	if (--slot->users == 0) {
		slot->is_filled = 0;
		slots->spare[slots->spare_count++] = slot->bytes;
		slot->number += slots->count;
		pthread_cond_broadcast(&slots->freed);
	}
	pthread_mutex_unlock(&slots->lock);
}

int is_left(struct slots *slots, uint64_t number)
{
	pthread_mutex_lock(&slots->lock);
	int left = slots->ring[number % slots->count].number > number;
	pthread_mutex_unlock(&slots->lock);
	return left;
}

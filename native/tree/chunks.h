/* Chunks of bytes from one thread to another: as many as there is room for, in order. */
#ifndef TSB_CHUNKS_H
#define TSB_CHUNKS_H
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#define CHUNKS 4

struct chunk {
	/* Room before and after `data` as chunks_open() was asked for. */
	uint8_t *data;
	size_t size;
};

struct chunks {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct chunk ring[CHUNKS];
	/* How many, ever. */
	size_t given, freed;
	int has_ended;
};

void chunks_open(struct chunks *c, size_t before, size_t size, size_t after);

/* The giver's side: a chunk to fill, which waits for room; to hand it on; to say that there are no more. */
struct chunk *chunks_fill(struct chunks *c);
void chunks_give(struct chunks *c);
void chunks_end(struct chunks *c);

/* The taker's side: the oldest chunk, NULL at the end; to let it go before the next is taken. */
struct chunk *chunks_take(struct chunks *c);
void chunks_free(struct chunks *c);

#endif

#include "chunks.h"
#include "tree.h"
#include <string.h>

void chunks_open(struct chunks *c, size_t before, size_t size, size_t after)
{
	memset(c, 0, sizeof *c);
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->changed, NULL);
	for (int i = 0; i < CHUNKS; i++) {
		c->ring[i].data = (uint8_t *)allocate(before + size + after) + before;
		memset(c->ring[i].data - before, 0, before);
	}
}

struct chunk *chunks_fill(struct chunks *c)
{
	pthread_mutex_lock(&c->lock);
	while (c->given - c->freed == CHUNKS)
		pthread_cond_wait(&c->changed, &c->lock);
	struct chunk *chunk = &c->ring[c->given % CHUNKS];
	pthread_mutex_unlock(&c->lock);
	return chunk;
}

static void change(struct chunks *c, size_t given, size_t freed, int ended)
{
	pthread_mutex_lock(&c->lock);
	c->given += given;
	c->freed += freed;
	c->has_ended |= ended;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
}

void chunks_give(struct chunks *c)
{
	change(c, 1, 0, 0);
}

void chunks_end(struct chunks *c)
{
	change(c, 0, 0, 1);
}

struct chunk *chunks_take(struct chunks *c)
{
	pthread_mutex_lock(&c->lock);
	while (c->given == c->freed && !c->has_ended)
		pthread_cond_wait(&c->changed, &c->lock);
	struct chunk *chunk = c->given == c->freed ? NULL : &c->ring[c->freed % CHUNKS];
	pthread_mutex_unlock(&c->lock);
	return chunk;
}

void chunks_free(struct chunks *c)
{
	change(c, 0, 1, 0);
}

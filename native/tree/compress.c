/*
 * compress: u32 form (1 gzip, 2 zstd), u32 level, u32 threads (0: as many as processors), u32 flags (1: the layer
 * grows); descriptors: the pipe of growth.h where it grows, the layer's file, and a file or pipe for what comes out.
 * PROGRESS: bytes that came out so far, after each block. DONE: 32 bytes SHA-256 of what came out, u64 its size, u64
 * bytes that were read.
 *
 * Threads take blocks by their number, read and compress them, and leave them in a ring; the first thread writes them
 * in order. Which thread made a block, and how many there are, shows in no byte.
 *
 * engines: no request; DONE: text, a line for each form that was built in: its name and its engine.
 */
#include "compress.h"
#include "growth.h"
#include "sha256.h"
#include "tree.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MEMORY (60U << 20)
#define MAX_THREADS 64

enum state { FREE, MADE };

struct slot {
	enum state state;
	uint8_t *bytes;
	size_t size, read;
};

static struct {
	pthread_mutex_t lock;
	/* A block was made; one was written. */
	pthread_cond_t made, written;
	const struct codec *codec;
	int level, from, to;
	size_t room;
	struct slot *ring;
	size_t slots;
	/* Number of the next block that nobody took; of the next one to write; of the one after the last, once known. */
	uint64_t next, at, end;
} work = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.made = PTHREAD_COND_INITIALIZER,
	.written = PTHREAD_COND_INITIALIZER,
	.end = UINT64_MAX,
};

/* As much as there is of a block. */
static size_t read_block(uint8_t *into, uint64_t number)
{
	size_t size = work.codec->block, got = 0;
	off_t offset = (off_t)(number * size);
	growth_await((number + 1) * size);
	while (got < size) {
		ssize_t n = pread(work.from, into + got, size - got, offset + (off_t)got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			fail(errno, "reading the layer");
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return got;
}

/* The number of a block whose slot is free, UINT64_MAX at the end. */
static uint64_t take_block(void)
{
	pthread_mutex_lock(&work.lock);
	uint64_t number = work.next++;
	while (number < work.end && number >= work.at + work.slots)
		pthread_cond_wait(&work.written, &work.lock);
	if (number >= work.end)
		number = UINT64_MAX;
	pthread_mutex_unlock(&work.lock);
	return number;
}

static void end_at(uint64_t number)
{
	pthread_mutex_lock(&work.lock);
	if (number < work.end)
		work.end = number;
	pthread_cond_broadcast(&work.made);
	pthread_cond_broadcast(&work.written);
	pthread_mutex_unlock(&work.lock);
}

/* `waits`: until the layer is there as a whole, since whoever writes it needs the processors more. */
static void *run_thread(void *waits)
{
	if (waits)
		growth_await_end();
	const struct codec *codec = work.codec;
	uint8_t *in = allocate(codec->block);
	void *state = codec->open(work.level);
	if (!state)
		fail(ENOMEM, "memory");
	for (uint64_t number; (number = take_block()) != UINT64_MAX;) {
		size_t size = read_block(in, number);
		/* An empty layer is one empty block. */
		if (size == 0 && number > 0) {
			end_at(number);
			break;
		}
		struct slot *slot = &work.ring[number % work.slots];
		slot->read = size;
		slot->size = codec->compress(state, in, size, slot->bytes, work.room);
		if (slot->size == 0)
			fail(0, "a block could not be compressed");
		if (size < codec->block)
			end_at(number + 1);
		pthread_mutex_lock(&work.lock);
		slot->state = MADE;
		pthread_cond_signal(&work.made);
		pthread_mutex_unlock(&work.lock);
	}
	return NULL;
}

/* The next block in order, NULL at the end. */
static struct slot *await_block(void)
{
	pthread_mutex_lock(&work.lock);
	struct slot *slot = &work.ring[work.at % work.slots];
	while (work.at < work.end && slot->state != MADE)
		pthread_cond_wait(&work.made, &work.lock);
	if (work.at >= work.end)
		slot = NULL;
	pthread_mutex_unlock(&work.lock);
	return slot;
}

static void free_block(struct slot *slot)
{
	pthread_mutex_lock(&work.lock);
	slot->state = FREE;
	work.at++;
	pthread_cond_broadcast(&work.written);
	pthread_mutex_unlock(&work.lock);
}

/* So many that what they hold stays within MEMORY: each has a block in hand, a state, and two places in the ring. */
static size_t threads_for(uint32_t asked)
{
	size_t each = work.codec->block + work.codec->memory(work.level) + 2 * work.room;
	size_t most = MEMORY / each < 1 ? 1 : MEMORY / each;
	size_t wanted = asked ? asked : (size_t)processors();
	if (wanted > MAX_THREADS)
		wanted = MAX_THREADS;
	return wanted < most ? wanted : most;
}

static void start_threads(uint32_t asked)
{
	size_t threads = threads_for(asked);
	work.slots = 2 * threads;
	work.ring = allocate(work.slots * sizeof *work.ring);
	memset(work.ring, 0, work.slots * sizeof *work.ring);
	for (size_t i = 0; i < work.slots; i++)
		work.ring[i].bytes = allocate(work.room);
	for (size_t i = 0; i < threads; i++) {
		pthread_t thread;
		int error = pthread_create(&thread, NULL, run_thread, 2 * i >= threads && i > 0 ? &work : NULL);
		/* Fewer do it too. */
		if (error && i == 0)
			fail(error, "starting a thread");
		if (error)
			break;
	}
}

void compress_job(struct request *r)
{
	uint32_t form = take_u32(r), level = take_u32(r), threads = take_u32(r), grows = take_u32(r) & 1;
	descriptors(2 + (int)grows);
	work.from = FIRST_FD + (int)grows;
	work.to = work.from + 1;
	work.codec = form == 1 ? gzip_codec() : form == 2 ? zstd_codec() : NULL;
	if (r->bad || !work.codec)
		fail(0, "there is no such form of compression in this program");
	if ((int64_t)level < work.codec->level_min || (int64_t)level > work.codec->level_max)
		fail(0, "there is no level %u: it goes from %d to %d", level, work.codec->level_min, work.codec->level_max);
	work.level = (int)level;
	work.room = work.codec->bound(work.codec->block);
	if (grows)
		growth_begin(FIRST_FD);
	start_threads(threads);
	struct sha256 s;
	struct slot *slot;
	uint64_t read = 0;
	uint8_t result[SHA256_SIZE + 16];
	sha256_begin(&s);
	while ((slot = await_block())) {
		write_all(work.to, slot->bytes, slot->size, "writing the compressed layer");
		sha256_add(&s, slot->bytes, slot->size);
		read += slot->read;
		free_block(slot);
		uint64_t written = s.size;
		answer(ANSWER_PROGRESS, &written, sizeof written);
	}
	uint64_t size = s.size;
	sha256_end(&s, result);
	memcpy(result + SHA256_SIZE, &size, sizeof size);
	memcpy(result + SHA256_SIZE + 8, &read, sizeof read);
	done(result, sizeof result);
}

void engines_job(struct request *r)
{
	(void)r;
	char text[256];
	int used = 0;
	if (gzip_codec())
		used += snprintf(text + used, sizeof text - (size_t)used, "gzip %s\n", gzip_codec()->engine);
	if (zstd_codec())
		used += snprintf(text + used, sizeof text - (size_t)used, "zstd %s\n", zstd_codec()->engine);
	done(text, (size_t)used);
}

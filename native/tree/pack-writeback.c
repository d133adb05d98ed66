#include "pack-writeback.h"
#include "tree.h"
#include <fcntl.h>

/* Much, since each call costs something; little, since the end waits for the last one. */
#define PIECE (2U << 20)
/*
 * So many pieces are on their way at a time: a disk that is slower than the readers gets no queue, which all that is
 * written durably meanwhile would have to wait for.
 */
#define AHEAD 4

static void *write_pieces(void *context)
{
	struct writeback *writeback = context;
	for (uint64_t begun = 0;; begun += PIECE) {
		pthread_mutex_lock(&writeback->lock);
		while (!writeback->is_ended && writeback->written - begun < PIECE)
			pthread_cond_wait(&writeback->more, &writeback->lock);
		int is_ended = writeback->is_ended;
		pthread_mutex_unlock(&writeback->lock);
		if (is_ended)
			return NULL;
		sync_file_range(writeback->out, (off_t)begun, PIECE, SYNC_FILE_RANGE_WRITE);
		if (begun >= AHEAD * PIECE)
			sync_file_range(writeback->out, (off_t)(begun - AHEAD * PIECE), PIECE,
					SYNC_FILE_RANGE_WAIT_BEFORE);
	}
}

void writeback_begin(struct writeback *writeback, int out)
{
	*writeback = (struct writeback){ .out = out };
	pthread_mutex_init(&writeback->lock, NULL);
	pthread_cond_init(&writeback->more, NULL);
}

void writeback_until(struct writeback *writeback, uint64_t written)
{
	if (writeback->out < 0 || written / PIECE == writeback->written / PIECE)
		return;
	if (!writeback->is_started) {
		writeback->is_started = 1;
		start_thread(&writeback->thread, write_pieces, writeback);
	}
	pthread_mutex_lock(&writeback->lock);
	writeback->written = written;
	pthread_cond_signal(&writeback->more);
	pthread_mutex_unlock(&writeback->lock);
}

void writeback_end(struct writeback *writeback)
{
	if (writeback->is_started) {
		pthread_mutex_lock(&writeback->lock);
		writeback->is_ended = 1;
		pthread_cond_signal(&writeback->more);
		pthread_mutex_unlock(&writeback->lock);
		pthread_join(writeback->thread, NULL);
	}
	pthread_mutex_destroy(&writeback->lock);
	pthread_cond_destroy(&writeback->more);
}

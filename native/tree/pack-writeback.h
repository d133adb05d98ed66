/*
 * A disk that begins to write a tar while the rest is read, so that little is left when it is asked to have it. Nobody waits
 * for that: a slow disk would stop those who read, and a hint that is not heard loses nothing.
 */
#ifndef TSB_PACK_WRITEBACK_H
#define TSB_PACK_WRITEBACK_H
#include <pthread.h>
#include <stdint.h>

struct writeback {
	int out;
	uint64_t written; /* bytes of `out` so far */
	int is_started, is_ended;
	pthread_mutex_t lock;
	pthread_cond_t more;
	pthread_t thread;
};

void writeback_begin(struct writeback *writeback, int out);
/* So much of the file has been written. */
void writeback_until(struct writeback *writeback, uint64_t written);
/* What was not begun yet is left to the kernel. */
void writeback_end(struct writeback *writeback);

#endif

/*
 * A file that is still being written. On a pipe comes how many of its bytes can be read already, as u64 each; with the
 * highest bit set it is all of them. A pipe that ends before that: the file was given up.
 */
#ifndef TSB_GROWTH_H
#define TSB_GROWTH_H
#include <stdint.h>

#define GROWTH_END (1ULL << 63)

/* Begins to listen, in a thread of its own. Without it every file is there as a whole. */
void growth_begin(int pipe);
/* Waits until the file has so many bytes, or is there as a whole. From several threads. */
void growth_await(uint64_t bytes);
/* Waits until the file is there as a whole. From several threads. */
void growth_await_end(void);

#endif

/*
 * One poll loop for a whole process. Whoever wants to hear of a descriptor says which function is to be called;
 * descriptors stay their owners'. Not reentrant, no threads, nothing allocated.
 */
#ifndef TSB_LOOP_H
#define TSB_LOOP_H
#include <stdint.h>

#define LOOP_MAX 128

typedef void (*loop_ready)(void *owner, short revents);

/* 0, or -1 with ENOSPC. Events as in poll(2); with none the descriptor rests. */
int loop_watch(int fd, short events, loop_ready ready, void *owner);
/* Changes what is waited for; unknown descriptors are ignored. */
void loop_want(int fd, short events);
/* To be called before the descriptor is closed; allowed inside its own function. */
void loop_forget(int fd);
/* Waits once, at most `timeout_ms` (-1: without an end), and calls the functions. */
void loop_once(int timeout_ms);

/* Milliseconds of a clock that only goes on. */
int64_t now_ms(void);

#endif

/* The life of the one container that a monitor holds: see life.c. Answers are errnos. */
#ifndef TSB_LIFE_H
#define TSB_LIFE_H
#include "settings.h"
#include <sys/types.h>

/* Starts it. `directory`, settings and plan stay the caller's, for as long as the process lives. */
void life_begin(int directory, const struct settings *settings, const struct plan *plan);
/* A process ended that is no health check. */
void life_reaped(pid_t pid, int status);

/* Ends it: a signal (0: its own), SIGKILL after the timeout (s; -1: never, -2: its own). */
void life_stop(uint32_t signal_number, int32_t timeout_s);
uint32_t life_signal(uint32_t number);
uint32_t life_pause(int is_paused);
uint32_t life_policy(uint32_t policy, uint32_t retries);

/* No client is behind any more. */
void life_relieved(void);
/* When life_tick wants to be called (now_ms); -1: never. */
int64_t life_next(void);
void life_tick(void);
/* Whether there is, or will be, a program to take input. */
int life_has_input(void);
/* It has ended for good; whoever has not read everything yet has until life_next. */
int life_is_over(void);

#endif

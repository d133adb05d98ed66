/*
 * Health checks: a further process in the container, now and then; its exit status decides. Told in health.json.
 * Rules as docker's: after the first success, or when the start period is over, `retries` failures in a row make
 * a container unhealthy; one success makes it healthy.
 */
#ifndef TSB_HEALTH_H
#define TSB_HEALTH_H
#include "settings.h"
#include "state.h"

/* `bytes` (a FRAME_HEALTH's payload) must outlive the checks; it is written to. 0, or -1 with EINVAL. */
int health_configure(uint8_t *bytes, uint32_t size);
int health_is_configured(void);
/* The container runs: `starting`. */
void health_begin(int directory, pid_t pid, const char *pid_start);
/* It has ended; a check that runs is killed. */
void health_end(void);
void health_pause(int is_paused);
/* When health_tick wants to be called (now_ms); -1: never. */
int64_t health_next(void);
void health_tick(void);
/* Whether the process that ended was a check. */
int health_reaped(pid_t pid, int status);

#endif

/* What happened to a container, as files in its directory (src/runtime/container.ts): whole, renamed into place. */
#ifndef TSB_STATE_H
#define TSB_STATE_H
#include "log.h"
#include <sys/types.h>

#define START_SIZE 24

struct state {
	const char *status;
	pid_t pid; /* 0: no process */
	char pid_start[START_SIZE];
	char started_at[TIMESTAMP_SIZE], finished_at[TIMESTAMP_SIZE]; /* "": never */
	int exit_code, oom_killed;
	char error[300];
	uint32_t restart_count;
	int has_monitor; /* that we hold it */
};

/* Start time of a process in clock ticks after boot, proc(5) field 22; "" where it is gone. */
void start_time_of(pid_t pid, char text[START_SIZE]);
/* Errors are swallowed: a full disk must not end a container. */
void state_write(int directory, const struct state *state);

/* `text` as a JSON string with quotes; returns how much of `out` was used, the NUL not counted. */
size_t json_string(char *out, size_t size, const char *text, size_t length);
void replace_file(int directory, const char *name, const char *text, size_t size);

#endif

/* What a monitor is told before it starts its container: one frame's payload, checked before anything is done. */
#ifndef TSB_SETTINGS_H
#define TSB_SETTINGS_H
#include "plan.h"

enum restart_policy { RESTART_NO, RESTART_ALWAYS, RESTART_ON_FAILURE };
enum { SETTING_STDIN = 1, SETTING_STDIN_ONCE = 2 };

#define MAX_EXIT_ARGS 16
/* Longer ones make no sense, and milliseconds of them stay far from overflowing. */
#define MAX_SECONDS (10u * 365 * 86400)

struct settings {
	uint32_t flags;
	uint32_t restart, max_retries, restart_count;
	uint32_t stop_signal;
	int32_t stop_timeout_s; /* -1: for ever */
	uint64_t log_size;
	uint32_t log_files; /* 0: nothing is logged */
	const char *directory; /* of the container, absolute */
	const char *oom_file;  /* with a line `oom_kill N`; "": none */
	const char *names_netns, *names_config; /* of dns_open; "": nobody asks for names */
	/* Run when the container has ended and no client cleans up; empty: nothing. */
	char *exit_args[MAX_EXIT_ARGS + 1];
};

struct health_settings {
	uint32_t interval_ms, timeout_ms, start_period_ms, start_interval_ms, retries;
	const uint8_t *plan;
	uint32_t plan_size;
};

/* 0, or -1 with EINVAL. Strings point into `bytes`, which must outlive the settings. */
int settings_read(struct settings *settings, const uint8_t *bytes, uint32_t size);
int health_settings_read(struct health_settings *settings, const uint8_t *bytes, uint32_t size);

#endif

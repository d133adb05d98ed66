/*
 * u32 flags, restart policy, maximum of retries, restarts so far, stop signal, stop timeout (s), log files,
 * number of exit arguments; u64 bytes of a log file; strings: directory, oom file, namespace and file of
 * the name service, exit arguments.
 */
#include "settings.h"
#include <errno.h>
#include <signal.h>
#include <string.h>

int settings_read(struct settings *settings, const uint8_t *bytes, uint32_t size)
{
	struct op whole = { 0, size, bytes };
	struct cursor c = cursor_of(&whole);
	memset(settings, 0, sizeof *settings);
	settings->flags = take_u32(&c);
	settings->restart = take_u32(&c);
	settings->max_retries = take_u32(&c);
	settings->restart_count = take_u32(&c);
	settings->stop_signal = take_u32(&c);
	settings->stop_timeout_s = (int32_t)take_u32(&c);
	settings->log_files = take_u32(&c);
	uint32_t args = take_u32(&c);
	settings->log_size = take_u64(&c);
	settings->directory = take_string(&c);
	settings->oom_file = take_string(&c);
	settings->names_netns = take_string(&c);
	settings->names_config = take_string(&c);
	errno = EINVAL;
	if (args > MAX_EXIT_ARGS)
		return -1;
	for (uint32_t i = 0; i < args; i++)
		settings->exit_args[i] = (char *)(uintptr_t)take_string(&c);
	if (c.bad || c.at != c.end || settings->directory[0] != '/')
		return -1;
	if (settings->restart > RESTART_ON_FAILURE || settings->stop_signal == 0 || settings->stop_signal >= (uint32_t)_NSIG ||
	    settings->log_files > 1000)
		return -1;
	return settings->stop_timeout_s < -1 || settings->stop_timeout_s > (int32_t)MAX_SECONDS ? -1 : 0;
}

/* u32 interval, timeout, start period, start interval (ms), retries, size of the plan; the plan. */
int health_settings_read(struct health_settings *settings, const uint8_t *bytes, uint32_t size)
{
	struct op whole = { 0, size, bytes };
	struct cursor c = cursor_of(&whole);
	settings->interval_ms = take_u32(&c);
	settings->timeout_ms = take_u32(&c);
	settings->start_period_ms = take_u32(&c);
	settings->start_interval_ms = take_u32(&c);
	settings->retries = take_u32(&c);
	settings->plan_size = take_u32(&c);
	settings->plan = take_bytes(&c, settings->plan_size);
	errno = EINVAL;
	return c.bad || c.at != c.end || settings->interval_ms == 0 || settings->retries == 0 ? -1 : 0;
}

#include "health.h"
#include "frames.h"
#include "loop.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_SIZE 4096
#define PROBES 5

static const char *const NAMES[] = { "starting", "healthy", "unhealthy" };
enum { STARTING, HEALTHY, UNHEALTHY };

struct probe {
	char start[TIMESTAMP_SIZE], end[TIMESTAMP_SIZE];
	int exit_code;
	size_t size;
	char output[OUTPUT_SIZE];
};

static struct health_settings settings;
static struct plan *plan;
static int directory, status, is_paused, probes;
static uint32_t streak;
static int64_t began, next = -1, deadline;
static pid_t running; /* 0: none */
static int output = -1, is_late;
static struct probe *history; /* allocated with the settings: most containers have no checks */

int health_configure(uint8_t *bytes, uint32_t size)
{
	uint32_t bad;
	if (health_settings_read(&settings, bytes, size) < 0)
		return -1;
	plan = malloc(sizeof *plan);
	history = calloc(PROBES, sizeof *history);
	if (!plan || !history)
		return -1;
	return plan_read(plan, settings.plan, settings.plan_size, &bad);
}

int health_is_configured(void)
{
	return history != NULL;
}

static void write_health(void)
{
	/* Control characters take six bytes each. */
	size_t size = PROBES * (6 * OUTPUT_SIZE + 256) + 256, n;
	char *text = malloc(size);
	if (!text)
		return;
	n = (size_t)snprintf(text, size, "{\"status\":\"%s\",\"failingStreak\":%u,\"log\":[", NAMES[status], streak);
	for (int i = 0; i < probes; i++) {
		n += (size_t)snprintf(text + n, size - n, "%s{\"start\":\"%s\",\"end\":\"%s\",\"exitCode\":%d,\"output\":", i ? "," : "",
				      history[i].start, history[i].end, history[i].exit_code);
		n += json_string(text + n, size - n, history[i].output, history[i].size);
		n += (size_t)snprintf(text + n, size - n, "}");
	}
	n += (size_t)snprintf(text + n, size - n, "]}\n");
	replace_file(directory, "health.json", text, n);
	free(text);
}

static int in_start_period(void)
{
	return status == STARTING && now_ms() - began < (int64_t)settings.start_period_ms;
}

static void plan_next(void)
{
	next = now_ms() + (int64_t)(in_start_period() ? settings.start_interval_ms : settings.interval_ms);
}

/* Tells the plan whom to enter: the container's first process, which is another one after each restart. */
static void aim(pid_t pid, const char *pid_start)
{
	uint32_t number = (uint32_t)pid;
	uint64_t start = strtoull(pid_start, NULL, 10);
	for (uint32_t i = 0; i < plan->count; i++) {
		if (plan->ops[i].code != OP_ENTER)
			continue;
		uint8_t *payload = (uint8_t *)(uintptr_t)plan->ops[i].payload;
		memcpy(payload, &number, sizeof number);
		memcpy(payload + 8, &start, sizeof start);
	}
}

void health_begin(int at, pid_t pid, const char *pid_start)
{
	directory = at;
	status = STARTING;
	streak = 0;
	probes = 0;
	began = now_ms();
	aim(pid, pid_start);
	plan_next();
	write_health();
}

void health_pause(int paused)
{
	is_paused = paused;
}

int64_t health_next(void)
{
	return running ? deadline : next;
}

static void close_output(void)
{
	if (output < 0)
		return;
	loop_forget(output);
	close(output);
	output = -1;
}

static void output_ready(void *owner, short revents)
{
	struct probe *probe = &history[probes - 1];
	char rest[1024];
	(void)owner;
	(void)revents;
	size_t room = sizeof probe->output - probe->size;
	ssize_t n = read(output, room > 0 ? probe->output + probe->size : rest, room > 0 ? room : sizeof rest);
	if (n > 0 && room > 0)
		probe->size += (size_t)n;
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		close_output();
}

static void say(struct probe *probe, const char *text)
{
	probe->size = (size_t)snprintf(probe->output, sizeof probe->output, "%s", text);
	if (probe->size >= sizeof probe->output)
		probe->size = sizeof probe->output - 1;
}

static void decide(int exit_code)
{
	struct probe *probe = &history[probes - 1];
	format_now(probe->end);
	probe->exit_code = exit_code;
	if (exit_code == 0) {
		streak = 0;
		status = HEALTHY;
	} else if (!in_start_period()) {
		streak++;
		if (streak >= settings.retries)
			status = UNHEALTHY;
	}
	plan_next();
	write_health();
}

/* Messages of the check that starts: whatever keeps it from running is a failure and its text the output. */
static int await_start(int control, struct probe *probe)
{
	struct message message;
	int fd, failed = 0;
	while (receive_message(control, &message, &fd) > 0) {
		if (fd >= 0)
			close(fd);
		if (message.kind != MESSAGE_ERROR)
			continue;
		char text[400];
		snprintf(text, sizeof text, "cannot run the health check: %s: %s", message.text, strerror((int)message.error));
		say(probe, text);
		failed = 1;
	}
	close(control);
	return failed;
}

static void begin_probe(void)
{
	int pipes[2], control;
	struct problem problem = { 0 };
	if (probes == PROBES)
		memmove(history, history + 1, (PROBES - 1) * sizeof *history);
	else
		probes++;
	struct probe *probe = &history[probes - 1];
	probe->size = 0;
	format_now(probe->start);
	is_late = 0;
	if (pipe2(pipes, O_CLOEXEC) < 0) {
		decide(-1);
		return;
	}
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	const int stdio[3] = { null, pipes[1], pipes[1] };
	running = sandbox_start(plan, stdio, &control, &problem);
	close(null);
	close(pipes[1]);
	if (running < 0) {
		running = 0;
		close(pipes[0]);
		say(probe, problem.text);
		decide(-1);
		return;
	}
	await_start(control, probe);
	deadline = now_ms() + (int64_t)settings.timeout_ms;
	output = pipes[0];
	fcntl(output, F_SETFL, O_NONBLOCK);
	if (loop_watch(output, POLLIN, output_ready, NULL) < 0) {
		close(output);
		output = -1;
	}
}

void health_tick(void)
{
	if (running && now_ms() >= deadline) {
		is_late = 1;
		deadline = now_ms() + 1000;
		kill(running, SIGKILL);
	} else if (!running && next >= 0 && now_ms() >= next) {
		if (is_paused)
			plan_next();
		else
			begin_probe();
	}
}

int health_reaped(pid_t pid, int wait_status)
{
	if (!running || pid != running)
		return 0;
	struct probe *probe = &history[probes - 1];
	running = 0;
	/* What a child of the check may still hold open is not waited for. */
	for (int i = 0; i < 64 && output >= 0; i++) {
		size_t had = probe->size;
		output_ready(NULL, 0);
		if (output >= 0 && probe->size == had)
			break;
	}
	close_output();
	if (is_late) {
		char text[80];
		snprintf(text, sizeof text, "the health check took longer than %u ms", settings.timeout_ms);
		say(probe, text);
	}
	if (next >= 0)
		decide(is_late ? -1 : WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status));
	return 1;
}

void health_end(void)
{
	if (!history)
		return;
	next = -1;
	close_output();
	if (running)
		kill(running, SIGKILL);
}

/*
 * A container's life: it starts, runs, is drained, perhaps waits to be started again, is over. Each step is told to all
 * clients and written down.
 */
#include "life.h"
#include "clients.h"
#include "frames.h"
#include "health.h"
#include "loop.h"
#include "ports.h"
#include "state.h"
#include "streams.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Between two starts, in ms: doubled each time; begun anew after a run of RUN_OK. As docker's. */
#define BACKOFF_FIRST 100
#define BACKOFF_LAST 60000
#define RUN_OK 10000
/* How long a client that does not read may keep an ended container's output (ms). */
#define PATIENCE 10000

enum phase { STARTING, RUNNING, DRAINING, WAITING, OVER };

static struct {
	enum phase phase;
	int directory;
	int control; /* of the start, -1 afterwards */
	int has_failed; /* the start, and so: */
	int failure;    /* exit status for it */
	int is_stopping, has_run;
	int wait_status;
	uint32_t oom_before;
	int64_t started, backoff;
	int64_t deadline; /* of the phase; -1: none */
	int64_t kill_at;  /* -1: no stop goes on */
	const struct settings *settings;
	const struct plan *plan;
	uint32_t restart, max_retries;
	struct state state;
} m = { .phase = STARTING, .directory = -1, .control = -1, .deadline = -1, .kill_at = -1, .backoff = BACKOFF_FIRST };

static void finish(void);

static void put_state(const char *status)
{
	m.state.status = status;
	state_write(m.directory, &m.state);
}

/* Kills for want of memory so far. */
static uint32_t oom_kills(void)
{
	char text[4096];
	int fd = m.settings->oom_file[0] ? open(m.settings->oom_file, O_RDONLY | O_CLOEXEC) : -1;
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = 0;
	const char *line = strstr(text, "oom_kill ");
	return line ? (uint32_t)strtoul(line + 9, NULL, 10) : 0;
}

static void note_error(uint32_t error, const char *text)
{
	snprintf(m.state.error, sizeof m.state.error, "cannot start: %s%s%s", text, text[0] ? ": " : "", strerror((int)error));
}

static void tell_problem(uint32_t type, uint32_t op, uint32_t error, const char *text)
{
	char payload[8 + 256];
	size_t length = strnlen(text, 243);
	memcpy(payload, &op, 4);
	memcpy(payload + 4, &error, 4);
	memcpy(payload + 8, text, length);
	clients_send(0, type, payload, (uint32_t)(8 + length));
}

static void refuse(uint32_t op, uint32_t error, const char *text)
{
	int is_exec = op < m.plan->count && m.plan->ops[op].code == OP_EXEC;
	m.has_failed = 1;
	m.failure = !is_exec ? 125 : error == ENOENT ? 127 : 126;
	note_error(error, text);
	tell_problem(FRAME_ERROR, op, error, text);
}

static void now_running(void)
{
	uint32_t pid = (uint32_t)m.state.pid;
	siginfo_t info = { 0 };
	loop_forget(m.control);
	close(m.control);
	m.control = -1;
	if (m.has_failed)
		return;
	streams_rest(clients_are_behind());
	m.phase = RUNNING;
	m.has_run = 1;
	m.started = now_ms();
	m.state.error[0] = 0;
	m.state.finished_at[0] = 0;
	start_time_of(m.state.pid, m.state.pid_start);
	format_now(m.state.started_at);
	/* why: whoever has ended already is written down as that in a moment. */
	if (waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0) {
		put_state("running");
		if (health_is_configured())
			health_begin(m.directory, m.state.pid, m.state.pid_start);
	}
	clients_send(0, FRAME_STARTED, &pid, sizeof pid);
}

static void control_ready(void *owner, short revents)
{
	struct message message;
	struct problem problem;
	int fd;
	(void)owner;
	(void)revents;
	if (receive_message(m.control, &message, &fd) == 0) {
		now_running();
		return;
	}
	if (message.kind == MESSAGE_ERROR)
		refuse(message.op, message.error, message.text);
	else if (message.kind == MESSAGE_WARNING)
		tell_problem(FRAME_WARNING, message.op, message.error, message.text);
	else if (message.kind == MESSAGE_TERMINAL) {
		streams_terminal(fd);
		return;
	} else if (sandbox_attend(m.plan, m.state.pid, m.control, &message, fd, &problem) < 0) {
		refuse(problem.op, (uint32_t)errno, problem.text);
		kill(m.state.pid, SIGKILL);
	}
	if (fd >= 0)
		close(fd);
}

static void start_container(void)
{
	int stdio[3];
	struct problem problem = { 0 };
	m.phase = STARTING;
	m.deadline = -1;
	m.has_failed = 0;
	m.wait_status = 0;
	m.oom_before = oom_kills();
	m.state.pid = 0;
	/* Nothing it says comes before the news that it runs. */
	streams_rest(1);
	if (streams_open(m.plan->terminal, m.settings->flags & SETTING_STDIN, stdio) == 0)
		m.state.pid = sandbox_start(m.plan, stdio, &m.control, &problem);
	else
		m.state.pid = -1;
	int error = errno;
	streams_close_child(stdio);
	if (m.state.pid > 0) {
		loop_watch(m.control, POLLIN, control_ready, NULL);
		return;
	}
	m.state.pid = 0;
	refuse(problem.op, (uint32_t)error, problem.text);
	finish();
}

static int exit_code(void)
{
	if (m.has_failed)
		return m.failure;
	return WIFSIGNALED(m.wait_status) ? 128 + WTERMSIG(m.wait_status) : WEXITSTATUS(m.wait_status);
}

static int shall_restart(void)
{
	if (m.is_stopping || !m.has_run)
		return 0;
	if (m.restart == RESTART_ALWAYS)
		return 1;
	return m.restart == RESTART_ON_FAILURE && m.state.exit_code != 0 &&
	       (m.max_retries == 0 || m.state.restart_count < m.max_retries);
}

static void tell_end(uint32_t is_final)
{
	uint32_t values[3] = { (uint32_t)m.state.exit_code, (uint32_t)m.state.oom_killed, is_final };
	clients_send(0, FRAME_ENDED, values, sizeof values);
}

static void wait_for_restart(void)
{
	if (m.started > 0 && now_ms() - m.started >= RUN_OK)
		m.backoff = BACKOFF_FIRST;
	m.phase = WAITING;
	m.deadline = now_ms() + m.backoff;
	m.backoff = m.backoff * 2 > BACKOFF_LAST ? BACKOFF_LAST : m.backoff * 2;
	m.state.restart_count++;
	put_state("restarting");
	tell_end(0);
}

static void end_for_good(void)
{
	m.phase = OVER;
	m.deadline = now_ms() + PATIENCE;
	/* Its own identity stays written down: for as long as it lives, somebody is cleaning up.
	 * A container that never ran is as it was: created. What went wrong the client writes down. */
	if (m.has_run)
		put_state("exited");
	clients_stop_listening(m.directory);
	ports_close();
	tell_end(1);
}

/* The process is gone and its output delivered. */
static void finish(void)
{
	streams_close();
	log_flush();
	health_end();
	m.kill_at = -1;
	m.state.exit_code = exit_code();
	m.state.oom_killed = oom_kills() > m.oom_before;
	m.state.pid = 0;
	format_now(m.state.finished_at);
	if (shall_restart())
		wait_for_restart();
	else
		end_for_good();
}

static void drain(void)
{
	if (m.phase == DRAINING && streams_drain())
		finish();
}

static void ended(void)
{
	/* What it said of its start comes first: it is dead, so the end of that is near. */
	while (m.control >= 0)
		control_ready(NULL, 0);
	m.phase = DRAINING;
	m.deadline = now_ms() + PATIENCE;
	drain();
}

void life_reaped(pid_t pid, int status)
{
	if (pid != m.state.pid || m.phase > RUNNING)
		return; /* an orphan of a container without a pid namespace of its own */
	m.wait_status = status;
	ended();
}

/* --- what clients want --- */

void life_stop(uint32_t signal_number, int32_t timeout_s)
{
	m.is_stopping = 1;
	if (m.phase == WAITING) {
		end_for_good();
		return;
	}
	if (m.state.pid <= 0 || m.phase > RUNNING)
		return;
	if (timeout_s < -1)
		timeout_s = m.settings->stop_timeout_s;
	kill(m.state.pid, (int)(signal_number ? signal_number : m.settings->stop_signal));
	m.kill_at = timeout_s < 0 ? -1 : now_ms() + (int64_t)timeout_s * 1000;
}

uint32_t life_signal(uint32_t number)
{
	if (number >= (uint32_t)_NSIG)
		return EINVAL;
	if (number == SIGKILL || number == m.settings->stop_signal)
		m.is_stopping = 1;
	if (m.phase == WAITING && m.is_stopping) {
		end_for_good();
		return 0;
	}
	if (m.state.pid <= 0 || m.phase > RUNNING)
		return ESRCH;
	return kill(m.state.pid, (int)number) < 0 ? (uint32_t)errno : 0;
}

uint32_t life_pause(int is_paused)
{
	if (m.phase != RUNNING)
		return ESRCH;
	put_state(is_paused ? "paused" : "running");
	health_pause(is_paused);
	return 0;
}

uint32_t life_policy(uint32_t policy, uint32_t retries)
{
	if (policy > RESTART_ON_FAILURE)
		return EINVAL;
	m.restart = policy;
	m.max_retries = retries;
	return 0;
}

void life_relieved(void)
{
	if (m.phase != STARTING)
		streams_rest(0);
	drain();
}

/* --- time --- */

static void drop_laggards(void)
{
	for (struct client *c = clients_next(NULL, 0), *next; c; c = next) {
		next = clients_next(c, 0);
		if (c->kept_size > 0)
			client_drop(c);
	}
}

int64_t life_next(void)
{
	if (m.deadline < 0 || m.kill_at < 0)
		return m.deadline < 0 ? m.kill_at : m.deadline;
	return m.deadline < m.kill_at ? m.deadline : m.kill_at;
}

void life_tick(void)
{
	if (m.kill_at >= 0 && now_ms() >= m.kill_at) {
		m.kill_at = now_ms() + 1000;
		kill(m.state.pid, SIGKILL);
	}
	if (m.deadline < 0 || now_ms() < m.deadline)
		return;
	if (m.phase == WAITING)
		start_container();
	else if (m.phase == DRAINING) {
		drop_laggards();
		drain();
	} else
		m.deadline = -1;
}

void life_begin(int directory, const struct settings *settings, const struct plan *plan)
{
	m.directory = directory;
	m.settings = settings;
	m.plan = plan;
	m.restart = settings->restart;
	m.max_retries = settings->max_retries;
	m.state.has_monitor = 1;
	m.state.restart_count = settings->restart_count;
	start_container();
}

int life_has_input(void)
{
	return m.phase <= RUNNING;
}

int life_is_over(void)
{
	return m.phase == OVER;
}

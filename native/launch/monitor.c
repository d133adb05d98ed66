/*
 * The monitor of one container: starts it, holds its streams and its log, writes down how it ends, restarts it as
 * its policy says, checks its health, and answers whoever comes to ctl.sock. Outlives the tsbuild that started it.
 *
 * Told everything on its first socket: FRAME_SETTINGS, perhaps FRAME_HEALTH, FRAME_RESIZE and FRAME_ATTACH, FRAME_START with the
 * plan. Answers FRAME_STARTED or FRAME_ERROR there; that socket's other end is its first client.
 */
#include "monitor.h"
#include "clients.h"
#include "dns.h"
#include "health.h"
#include "loop.h"
#include "settings.h"
#include "state.h"
#include "streams.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Of FRAME_ERROR: it is about no operation of the plan. */
#define NO_OP 0xffffffffu

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
	int signals;
	int control; /* of the start, -1 afterwards */
	int has_failed; /* the start, and so: */
	int failure;    /* exit status for it */
	uint32_t attached; /* of the first client, from the beginning */
	int is_stopping, has_run, is_cleaned;
	int wait_status;
	uint32_t oom_before;
	int64_t started, backoff;
	int64_t deadline; /* of the phase; -1: none */
	int64_t kill_at;  /* -1: no stop goes on */
	struct settings settings;
	struct plan plan;
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
	int fd = m.settings.oom_file[0] ? open(m.settings.oom_file, O_RDONLY | O_CLOEXEC) : -1;
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
	int is_exec = op < m.plan.count && m.plan.ops[op].code == OP_EXEC;
	m.has_failed = 1;
	m.failure = !is_exec ? 125 : error == ENOENT ? 127 : 126;
	note_error(error, text);
	tell_problem(FRAME_ERROR, op, error, text);
}

/* --- start --- */

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
	} else if (sandbox_attend(&m.plan, m.state.pid, m.control, &message, fd, &problem) < 0) {
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
	if (streams_open(m.plan.terminal, m.settings.flags & SETTING_STDIN, stdio) == 0)
		m.state.pid = sandbox_start(&m.plan, stdio, &m.control, &problem);
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

/* --- end --- */

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
	if (m.settings.restart == RESTART_ALWAYS)
		return 1;
	return m.settings.restart == RESTART_ON_FAILURE && m.state.exit_code != 0 &&
	       (m.settings.max_retries == 0 || m.state.restart_count < m.settings.max_retries);
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

static void signals_ready(void *owner, short revents)
{
	struct signalfd_siginfo info;
	int status;
	(void)owner;
	(void)revents;
	while (read(m.signals, &info, sizeof info) > 0)
		/* The machine goes down, or somebody wants us gone: the container ends in order. */
		if (info.ssi_signo == SIGTERM)
			monitor_stop(0, -2);
	for (pid_t pid = waitpid(-1, &status, WNOHANG); pid > 0; pid = waitpid(-1, &status, WNOHANG)) {
		if (health_reaped(pid, status))
			continue;
		if (pid != m.state.pid || m.phase > RUNNING)
			continue; /* an orphan of a container without a pid namespace of its own */
		m.wait_status = status;
		ended();
	}
}

/* --- what clients want --- */

void monitor_stop(uint32_t signal_number, int32_t timeout_s)
{
	m.is_stopping = 1;
	if (m.phase == WAITING) {
		end_for_good();
		return;
	}
	if (m.state.pid <= 0 || m.phase > RUNNING)
		return;
	if (timeout_s < -1)
		timeout_s = m.settings.stop_timeout_s;
	kill(m.state.pid, (int)(signal_number ? signal_number : m.settings.stop_signal));
	m.kill_at = timeout_s < 0 ? -1 : now_ms() + (int64_t)timeout_s * 1000;
}

static uint32_t send_signal(uint32_t number)
{
	if (number >= (uint32_t)_NSIG)
		return EINVAL;
	if (number == SIGKILL || number == m.settings.stop_signal)
		m.is_stopping = 1;
	if (m.phase == WAITING && m.is_stopping) {
		end_for_good();
		return 0;
	}
	if (m.state.pid <= 0 || m.phase > RUNNING)
		return ESRCH;
	return kill(m.state.pid, (int)number) < 0 ? (uint32_t)errno : 0;
}

static uint32_t set_paused(int is_paused)
{
	if (m.phase != RUNNING)
		return ESRCH;
	put_state(is_paused ? "paused" : "running");
	health_pause(is_paused);
	return 0;
}

static uint32_t set_policy(uint32_t policy, uint32_t retries)
{
	if (policy > RESTART_ON_FAILURE)
		return EINVAL;
	m.settings.restart = policy;
	m.settings.max_retries = retries;
	return 0;
}

static void answer(struct client *client, uint32_t error)
{
	client_send(client, FRAME_DONE, &error, sizeof error);
}

static int take_input(struct client *client, const uint8_t *payload, uint32_t size)
{
	if (!(client->attached & ATTACH_STDIN))
		return -1;
	if (size > 0)
		return streams_input(client, payload, size);
	if (m.plan.terminal || m.settings.flags & SETTING_STDIN_ONCE)
		streams_end_input();
	return 0;
}

static void on_frame(struct client *client, uint32_t type, const uint8_t *payload, uint32_t size)
{
	uint32_t values[2] = { 0, 0 };
	if (type == FRAME_STDIN) {
		if (take_input(client, payload, size) < 0)
			client_drop(client);
		return;
	}
	if (size > sizeof values || size % 4) {
		client_drop(client);
		return;
	}
	if (size > 0)
		memcpy(values, payload, size);
	if (type == FRAME_ATTACH && size == 4) {
		client->attached = values[0];
		answer(client, 0);
	} else if (type == FRAME_KILL && size == 4)
		answer(client, send_signal(values[0]));
	else if (type == FRAME_STOP && size == 8)
		monitor_stop(values[0] < (uint32_t)_NSIG ? values[0] : 0, (int32_t)values[1] > (int32_t)MAX_SECONDS ? -1 : (int32_t)values[1]);
	else if (type == FRAME_RESIZE && size == 8)
		streams_resize(values[0], values[1]);
	else if (type == FRAME_PAUSED && size == 4)
		answer(client, set_paused(values[0] != 0));
	else if (type == FRAME_POLICY && size == 8)
		answer(client, set_policy(values[0], values[1]));
	else if (type == FRAME_CLEANED && size == 0)
		m.is_cleaned = 1;
	else
		client_drop(client);
}

static void on_gone(struct client *client)
{
	if (client->attached & ATTACH_STDIN && m.settings.flags & SETTING_STDIN_ONCE && m.phase <= RUNNING)
		streams_end_input();
}

static void on_relieved(void)
{
	if (m.phase != STARTING)
		streams_rest(0);
	drain();
}

static const struct client_handler HANDLER = { on_frame, on_gone, on_relieved };

/* --- the life of the process --- */

static void drop_laggards(void)
{
	for (struct client *c = clients_next(NULL, 0), *next; c; c = next) {
		next = clients_next(c, 0);
		if (c->kept_size > 0)
			client_drop(c);
	}
}

static int wait_ms(void)
{
	int64_t first = -1, times[3] = { m.deadline, m.kill_at, health_is_configured() ? health_next() : -1 };
	for (int i = 0; i < 3; i++)
		if (times[i] >= 0 && (first < 0 || times[i] < first))
			first = times[i];
	int64_t left = first < 0 ? -1 : first - now_ms();
	return first < 0 ? -1 : left < 0 ? 0 : left > 86400000 ? 86400000 : (int)left;
}

static void tick(void)
{
	if (m.kill_at >= 0 && now_ms() >= m.kill_at) {
		m.kill_at = now_ms() + 1000;
		kill(m.state.pid, SIGKILL);
	}
	if (health_is_configured())
		health_tick();
	if (m.deadline < 0 || now_ms() < m.deadline)
		return;
	if (m.phase == WAITING)
		start_container();
	else if (m.phase == DRAINING) {
		drop_laggards();
		drain();
	}
}

/* Whether there is still something to do after the end. */
static int is_awaited(void)
{
	if (clients_are_behind() && now_ms() < m.deadline)
		return 1;
	return !m.is_cleaned && clients_next(NULL, ATTACH_CLEANS) != NULL;
}

/* Becomes the command that cleans up, where nobody did; its pid is still this one. */
static int leave(void)
{
	static char *const environment[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL };
	if (m.is_cleaned || !m.settings.exit_args[0])
		return 0;
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	execve(m.settings.exit_args[0], m.settings.exit_args, environment);
	return 125;
}

/* The only monitor of a directory that is still where it was. */
static int take_directory(const char *path)
{
	struct stat held, named;
	m.directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int lock = m.directory < 0 ? -1 : openat(m.directory, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0)
		return -1;
	if (fstat(m.directory, &held) < 0 || stat(path, &named) < 0)
		return -1;
	if (held.st_dev == named.st_dev && held.st_ino == named.st_ino)
		return 0;
	errno = ENOENT;
	return -1;
}

static int watch_signals(void)
{
	sigset_t wanted;
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGCHLD);
	sigaddset(&wanted, SIGTERM);
	sigprocmask(SIG_BLOCK, &wanted, NULL);
	static const int ignored[] = { SIGINT, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2 };
	for (unsigned i = 0; i < sizeof ignored / sizeof *ignored; i++)
		signal(ignored[i], SIG_IGN);
	m.signals = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
	return m.signals < 0 ? -1 : loop_watch(m.signals, POLLIN, signals_ready, NULL);
}

/* Everything up to FRAME_START; 0, or -1 with errno: nonsense, or nobody there. */
static int read_instructions(int fd)
{
	struct frame head;
	uint32_t bad = 0;
	int has_settings = 0;
	while (read_all(fd, &head, sizeof head) > 0 && head.length <= PLAN_MAX_BYTES) {
		/* Kept for as long as this process lives. */
		uint8_t *payload = malloc(head.length + 1);
		if (!payload || (head.length > 0 && read_all(fd, payload, head.length) <= 0))
			return -1;
		if (head.type == FRAME_SETTINGS) {
			if (settings_read(&m.settings, payload, head.length) < 0)
				return -1;
			has_settings = 1;
		} else if (head.type == FRAME_HEALTH) {
			if (health_configure(payload, head.length) < 0)
				return -1;
		} else if (head.type == FRAME_RESIZE && head.length == 8) {
			uint32_t size[2];
			memcpy(size, payload, sizeof size);
			streams_resize(size[0], size[1]);
		} else if (head.type == FRAME_ATTACH && head.length == 4)
			memcpy(&m.attached, payload, sizeof m.attached);
		else if (head.type == FRAME_START && has_settings)
			return plan_read(&m.plan, payload, head.length, &bad);
		else
			break;
	}
	errno = EPROTO;
	return -1;
}

static void names_ready(void *owner, short revents)
{
	(void)revents;
	dns_serve(owner);
}

static int serve_names(void)
{
	if (!m.settings.names_netns[0])
		return 0;
	struct dns *names = dns_open(m.settings.names_netns, m.settings.names_config);
	return names ? loop_watch(dns_fd(names), POLLIN, names_ready, names) : -1;
}

static int prepare(int fd)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	if (chdir("/") < 0 || watch_signals() < 0 || take_directory(m.settings.directory) < 0)
		return -1;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	struct client *first = client_add(fd, &HANDLER);
	if (!first || clients_listen(m.directory, &HANDLER) < 0)
		return -1;
	first->attached = m.attached;
	if (serve_names() < 0)
		return -1;
	return log_open(m.directory, m.settings.log_size, m.settings.log_files);
}

static int run(int fd)
{
	if (prepare(fd) < 0) {
		send_problem(fd, FRAME_ERROR, 0, NO_OP, (uint32_t)errno, "monitor");
		return 125;
	}
	m.state.has_monitor = 1;
	m.state.restart_count = m.settings.restart_count;
	start_container();
	while (m.phase != OVER || is_awaited()) {
		loop_once(wait_ms());
		tick();
	}
	return leave();
}

static void detach_streams(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
}

int monitor(int fd)
{
	if (read_instructions(fd) < 0) {
		send_problem(fd, FRAME_ERROR, 0, NO_OP, (uint32_t)errno, "instructions");
		return 125;
	}
	/* Away from the caller: no child of its, no member of its session. */
	pid_t pid = fork();
	if (pid != 0)
		return pid < 0 ? 125 : 0;
	setsid();
	detach_streams();
	return run(fd);
}

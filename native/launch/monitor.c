/*
 * The monitor of one container: holds its life (life.c), its streams and its log, checks its health, and answers
 * whoever comes to ctl.sock. Outlives the tsbuild that started it.
 *
 * Told everything on its first socket: FRAME_SETTINGS, perhaps FRAME_HEALTH, FRAME_PORTS, FRAME_RESIZE and FRAME_ATTACH,
 * FRAME_START with the plan. Answers FRAME_STARTED or FRAME_ERROR there; that socket's other end is its first client.
 */
#include "monitor.h"
#include "clients.h"
#include "dns.h"
#include "health.h"
#include "life.h"
#include "log.h"
#include "loop.h"
#include "ports.h"
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
/* How long clients may take to close after the end (ms). */
#define PARTING 1000

static struct {
	int directory;
	int signals;
	uint32_t attached; /* of the first client, from the beginning */
	int is_cleaned;
	int64_t parted; /* when clients that have not closed are left alone; 0: not yet told */
	const uint8_t *ports; /* a FRAME_PORTS's payload; NULL: nothing is published */
	uint32_t ports_size;
	struct settings settings;
	struct plan plan;
} m = { .directory = -1 };

static void signals_ready(void *owner, short revents)
{
	struct signalfd_siginfo info;
	int status;
	(void)owner;
	(void)revents;
	while (read(m.signals, &info, sizeof info) > 0)
		/* The machine goes down, or somebody wants us gone: the container ends in order. */
		if (info.ssi_signo == SIGTERM)
			life_stop(0, -2);
	for (pid_t pid = waitpid(-1, &status, WNOHANG); pid > 0; pid = waitpid(-1, &status, WNOHANG))
		if (!health_reaped(pid, status))
			life_reaped(pid, status);
}

/* --- what clients want --- */

static void resize(uint32_t rows, uint32_t columns)
{
	/* For the next start, too. */
	m.plan.rows = rows > 65535 ? 65535 : rows;
	m.plan.columns = columns > 65535 ? 65535 : columns;
	streams_resize(rows, columns);
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
		answer(client, life_signal(values[0]));
	else if (type == FRAME_STOP && size == 8)
		life_stop(values[0] < (uint32_t)_NSIG ? values[0] : 0, (int32_t)values[1] > (int32_t)MAX_SECONDS ? -1 : (int32_t)values[1]);
	else if (type == FRAME_RESIZE && size == 8)
		resize(values[0], values[1]);
	else if (type == FRAME_PAUSED && size == 4)
		answer(client, life_pause(values[0] != 0));
	else if (type == FRAME_POLICY && size == 8)
		answer(client, life_policy(values[0], values[1]));
	else if (type == FRAME_PORTS && size == 0) {
		ports_close();
		answer(client, 0);
	} else if (type == FRAME_CLEANED && size == 0)
		m.is_cleaned = 1;
	else
		client_drop(client);
}

static void on_gone(struct client *client)
{
	if (client->attached & ATTACH_STDIN && m.settings.flags & SETTING_STDIN_ONCE && life_has_input())
		streams_end_input();
}

static const struct client_handler HANDLER = { on_frame, on_gone, life_relieved };

/* --- the life of the process --- */

static int wait_ms(void)
{
	int64_t first = -1, times[3] = { life_next(), health_is_configured() ? health_next() : -1, m.parted > 0 ? m.parted : -1 };
	for (int i = 0; i < 3; i++)
		if (times[i] >= 0 && (first < 0 || times[i] < first))
			first = times[i];
	int64_t left = first < 0 ? -1 : first - now_ms();
	return first < 0 ? -1 : left < 0 ? 0 : left > 86400000 ? 86400000 : (int)left;
}

/* Whether there is still something to do after the end. */
static int is_awaited(void)
{
	if (clients_are_behind() && now_ms() < life_next())
		return 1;
	return !m.is_cleaned && clients_next(NULL, ATTACH_CLEANS) != NULL;
}

/*
 * Says to all that nothing more comes, and takes what they still send until they have closed.
 * why: whoever writes into a closed socket is told so before it has read what came out of it last: the end.
 */
static int is_parting(void)
{
	struct client *c = clients_next(NULL, 0);
	if (m.parted == 0) {
		m.parted = now_ms() + PARTING;
		for (struct client *each = c; each; each = clients_next(each, 0))
			shutdown(each->fd, SHUT_WR);
	}
	while (c && m.is_cleaned && c->attached & ATTACH_CLEANS)
		c = clients_next(c, 0);
	return c && now_ms() < m.parted;
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
	uint32_t bad = 0, size[2] = { 0, 0 };
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
		} else if (head.type == FRAME_PORTS) {
			m.ports = payload;
			m.ports_size = head.length;
		} else if (head.type == FRAME_RESIZE && head.length == 8) {
			memcpy(size, payload, sizeof size);
		} else if (head.type == FRAME_ATTACH && head.length == 4)
			memcpy(&m.attached, payload, sizeof m.attached);
		else if (head.type == FRAME_START && has_settings) {
			int done = plan_read(&m.plan, payload, head.length, &bad);
			resize(size[0], size[1]);
			return done;
		} else
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

/* `what` (PORT_TEXT): where it failed. */
static int prepare(int fd, char *what)
{
	snprintf(what, PORT_TEXT, "monitor");
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
	if (m.settings.log_files > 0 && log_open(m.directory, m.settings.log_size, m.settings.log_files) < 0)
		return -1;
	return m.ports ? ports_open(m.ports, m.ports_size, what) : 0;
}

static int run(int fd)
{
	char what[PORT_TEXT];
	if (prepare(fd, what) < 0) {
		send_problem(fd, FRAME_ERROR, 0, NO_OP, (uint32_t)errno, what);
		return 125;
	}
	life_begin(m.directory, &m.settings, &m.plan);
	while (!life_is_over() || is_awaited() || is_parting()) {
		loop_once(wait_ms());
		life_tick();
		if (health_is_configured())
			health_tick();
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

/*
 * The persistent server of a build: starts containers from plans, hands on their output, reports their end.
 * Single-threaded, one poll loop. When the socket closes, everything that it started is killed.
 */
#include "dns.h"
#include "frames.h"
#include "net.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_CONTAINERS 256
/* So long nothing was asked for when something may be prepared. */
#define QUIET_MS 2
enum { OUT, ERR, CONTROL, STREAMS };

struct container {
	pid_t pid; /* 0: the slot is free */
	uint32_t id;
	int fds[STREAMS]; /* -1: closed */
	int failed, reaped, status;
};

static struct container containers[MAX_CONTAINERS];

/* Whoever has run one container will run more, and does something else at the moment. */
static int has_ended;

static void close_stream(struct container *c, int stream)
{
	if (c->fds[stream] >= 0)
		close(c->fds[stream]);
	c->fds[stream] = -1;
}

/* Reports the end once the process is gone, its messages are read and its output is delivered. */
static void finish(int fd, struct container *c)
{
	if (!c->reaped || c->fds[OUT] >= 0 || c->fds[ERR] >= 0 || c->fds[CONTROL] >= 0)
		return;
	if (!c->failed)
		send_exit(fd, c->id, c->status);
	c->pid = 0;
	has_ended = 1;
}

static int runs_nothing(void)
{
	for (int i = 0; i < MAX_CONTAINERS; i++)
		if (containers[i].pid > 0)
			return 0;
	return 1;
}

static struct container *free_slot(void)
{
	for (int i = 0; i < MAX_CONTAINERS; i++)
		if (containers[i].pid == 0)
			return &containers[i];
	return NULL;
}

static void start(int fd, uint32_t id, const uint8_t *bytes, uint32_t size)
{
	static struct plan plan;
	uint32_t bad = 0;
	int out[2] = { -1, -1 }, err[2] = { -1, -1 };
	struct container *c = free_slot();
	if (!c) {
		send_problem(fd, FRAME_ERROR, id, 0, EAGAIN, "too many containers");
		return;
	}
	*c = (struct container){ .id = id, .fds = { -1, -1, -1 } };
	if (plan_read(&plan, bytes, size, &bad) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0) {
		send_problem(fd, FRAME_ERROR, id, bad, (uint32_t)errno, "reading the plan");
		plan_free(&plan);
		close(out[0]);
		close(out[1]);
		return;
	}
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int stdio[3] = { null, out[1], err[1] };
	struct problem problem;
	pid_t pid = sandbox_start(&plan, stdio, &c->fds[CONTROL], &problem);
	int error = errno;
	close(null);
	close(out[1]);
	close(err[1]);
	plan_free(&plan);
	if (pid < 0) {
		close(out[0]);
		close(err[0]);
		send_problem(fd, FRAME_ERROR, id, problem.op, (uint32_t)error, problem.text);
		return;
	}
	c->pid = pid;
	c->fds[OUT] = out[0];
	c->fds[ERR] = err[0];
}

static void stop(uint32_t id, uint32_t signal_number)
{
	for (int i = 0; i < MAX_CONTAINERS; i++)
		if (containers[i].pid > 0 && containers[i].id == id && !containers[i].reaped)
			kill(containers[i].pid, (int)signal_number);
}

/* Networks of the build: a namespace that they make is kept until the server ends. */
static void do_net(int fd, uint32_t id, const uint8_t *bytes, uint32_t size)
{
	uint32_t bad = 0;
	int32_t held = -1;
	char text[244] = "";
	if (net_execute(bytes, size, &held, &bad, text, NULL, NULL) < 0)
		send_problem(fd, FRAME_ERROR, id, bad, (uint32_t)errno, text);
	else
		send_frame(fd, FRAME_NET_DONE, id, &held, sizeof held);
}

/* The name service of such a namespace: one for all containers in it. */
static struct dns *names;

static void serve_names(int fd, uint32_t id, char *paths, uint32_t size)
{
	const char *config = memchr(paths, 0, size);
	int32_t none = -1;
	/* request() has put a NUL after the payload. */
	if (config && !names)
		names = dns_open(paths, config + 1);
	else if (!config)
		errno = EINVAL;
	if (config && names)
		send_frame(fd, FRAME_NET_DONE, id, &none, sizeof none);
	else
		send_problem(fd, FRAME_ERROR, id, 0, (uint32_t)errno, "serving names");
}

/* One request; 0 when the other side is gone or speaks nonsense. */
static int request(int fd)
{
	struct frame head;
	if (read_all(fd, &head, sizeof head) <= 0 || head.length > PLAN_MAX_BYTES)
		return 0;
	uint8_t *payload = malloc(head.length + 1);
	if (!payload)
		return 0;
	payload[head.length] = 0;
	int complete = head.length == 0 || read_all(fd, payload, head.length) > 0;
	uint32_t signal_number = 0;
	if (complete && head.type == FRAME_START)
		start(fd, head.id, payload, head.length);
	if (complete && head.type == FRAME_NET)
		do_net(fd, head.id, payload, head.length);
	if (complete && head.type == FRAME_NAMES)
		serve_names(fd, head.id, (char *)payload, head.length);
	if (complete && head.type == FRAME_KILL && head.length == sizeof signal_number) {
		memcpy(&signal_number, payload, sizeof signal_number);
		stop(head.id, signal_number);
	}
	free(payload);
	return complete;
}

static void read_control(int fd, struct container *c)
{
	struct message message;
	int terminal;
	if (receive_message(c->fds[CONTROL], &message, &terminal) == 0) {
		close_stream(c, CONTROL);
		uint32_t pid = (uint32_t)c->pid;
		if (!c->failed)
			send_frame(fd, FRAME_STARTED, c->id, &pid, sizeof pid);
		return;
	}
	if (terminal >= 0)
		close(terminal);
	if (message.kind == MESSAGE_ERROR)
		c->failed = 1;
	send_problem(fd, message.kind == MESSAGE_ERROR ? FRAME_ERROR : FRAME_WARNING, c->id, message.op, message.error, message.text);
}

static void read_output(int fd, struct container *c, int stream)
{
	static uint8_t buffer[65536];
	ssize_t n = read(c->fds[stream], buffer, sizeof buffer);
	if (n > 0)
		send_frame(fd, stream == OUT ? FRAME_STDOUT : FRAME_STDERR, c->id, buffer, (uint32_t)n);
	else if (n == 0 || (errno != EINTR && errno != EAGAIN))
		close_stream(c, stream);
}

static void reap(int fd)
{
	int status;
	for (pid_t pid = waitpid(-1, &status, WNOHANG); pid > 0; pid = waitpid(-1, &status, WNOHANG))
		for (int i = 0; i < MAX_CONTAINERS; i++)
			if (containers[i].pid == pid) {
				containers[i].reaped = 1;
				containers[i].status = status;
				finish(fd, &containers[i]);
			}
}

static void kill_all(void)
{
	for (int i = 0; i < MAX_CONTAINERS; i++)
		if (containers[i].pid > 0 && !containers[i].reaped)
			kill(containers[i].pid, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		;
}

int serve(int fd)
{
	sigset_t children;
	sigemptyset(&children);
	sigaddset(&children, SIGCHLD);
	sigprocmask(SIG_BLOCK, &children, NULL);
	int signals = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
	static struct pollfd polled[3 + MAX_CONTAINERS * STREAMS];
	static struct {
		struct container *container;
		int stream;
	} owners[3 + MAX_CONTAINERS * STREAMS];
	for (;;) {
		nfds_t n = 0;
		polled[n++] = (struct pollfd){ fd, POLLIN, 0 };
		polled[n++] = (struct pollfd){ signals, POLLIN, 0 };
		polled[n++] = (struct pollfd){ names ? dns_fd(names) : -1, POLLIN, 0 };
		for (int i = 0; i < MAX_CONTAINERS; i++)
			for (int stream = 0; containers[i].pid > 0 && stream < STREAMS; stream++)
				if (containers[i].fds[stream] >= 0) {
					owners[n].container = &containers[i];
					owners[n].stream = stream;
					polled[n++] = (struct pollfd){ containers[i].fds[stream], POLLIN, 0 };
				}
		if (has_ended)
			make_mount_template();
		/* Not while something runs or somebody acts on what ended: they may have to share our processor. */
		if (has_ended && wants_spare_network() && runs_nothing() && poll(polled, n, QUIET_MS) == 0)
			make_spare_network();
		if (poll(polled, n, -1) < 0 && errno != EINTR)
			break;
		/* Control first: "started" must come before the first output. */
		for (nfds_t i = 3; i < n; i++)
			if (polled[i].revents && owners[i].stream == CONTROL)
				read_control(fd, owners[i].container);
		for (nfds_t i = 3; i < n; i++) {
			if (!polled[i].revents || owners[i].stream == CONTROL)
				continue;
			read_output(fd, owners[i].container, owners[i].stream);
			finish(fd, owners[i].container);
		}
		if (polled[2].revents)
			dns_serve(names);
		if (polled[1].revents) {
			struct signalfd_siginfo info;
			while (read(signals, &info, sizeof info) > 0)
				;
			reap(fd);
		}
		for (int i = 0; i < MAX_CONTAINERS; i++)
			if (containers[i].pid > 0)
				finish(fd, &containers[i]);
		if (polled[0].revents && !request(fd))
			break;
	}
	kill_all();
	return 0;
}

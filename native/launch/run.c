/*
 * One container in the foreground: the caller's own standard streams, or a pty between them and it.
 * Signals are the caller's business (it knows the pid); this process only waits, copies and reports.
 */
#include "frames.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static struct termios saved;
static int is_raw;

static void make_raw(void)
{
	struct termios raw;
	if (tcgetattr(0, &saved) < 0)
		return;
	raw = saved;
	cfmakeraw(&raw);
	is_raw = tcsetattr(0, TCSANOW, &raw) == 0;
}

static void restore(void)
{
	if (is_raw)
		tcsetattr(0, TCSADRAIN, &saved);
	is_raw = 0;
}

static void copy_size(int master)
{
	struct winsize size;
	if (ioctl(0, TIOCGWINSZ, &size) == 0 || ioctl(1, TIOCGWINSZ, &size) == 0)
		ioctl(master, TIOCSWINSZ, &size);
}

static int write_all(int fd, const char *bytes, ssize_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, bytes, (size_t)size);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return -1;
		bytes += n;
		size -= n;
	}
	return 0;
}

/* Copies until the process is gone and the pty is drained. */
static int attend(pid_t pid, int master, int signals)
{
	int status = 0, reaped = 0, input = master >= 0;
	char buffer[16384];
	for (;;) {
		struct pollfd polled[3] = { { signals, POLLIN, 0 }, { master, POLLIN, 0 }, { input ? 0 : -1, POLLIN, 0 } };
		if (poll(polled, 3, -1) < 0 && errno != EINTR)
			return -1;
		if (polled[1].revents) {
			ssize_t n = read(master, buffer, sizeof buffer);
			if (n > 0)
				write_all(1, buffer, n);
			else if (n == 0 || (errno != EINTR && errno != EAGAIN))
				master = -1;
		}
		if (polled[2].revents) {
			ssize_t n = read(0, buffer, sizeof buffer);
			if (n > 0)
				write_all(master, buffer, n);
			else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
				/* End of a piped input: what the terminal's user would type. */
				if (n == 0 && master >= 0)
					write_all(master, "\004", 1);
				input = 0;
			}
		}
		if (polled[0].revents) {
			struct signalfd_siginfo info;
			while (read(signals, &info, sizeof info) > 0)
				if (info.ssi_signo == SIGWINCH && master >= 0)
					copy_size(master);
			int got;
			for (pid_t gone = waitpid(-1, &got, WNOHANG); gone > 0; gone = waitpid(-1, &got, WNOHANG))
				if (gone == pid) {
					reaped = 1;
					status = got;
				}
		}
		if (reaped && master < 0)
			return status;
		if (master < 0)
			input = 0;
	}
}

static uint8_t *read_plan(int fd, size_t *size)
{
	uint8_t *bytes = malloc(PLAN_MAX_BYTES + 1);
	*size = 0;
	while (bytes && *size <= PLAN_MAX_BYTES) {
		ssize_t n = read(fd, bytes + *size, PLAN_MAX_BYTES + 1 - *size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		*size += (size_t)n;
	}
	return bytes;
}

int run_one(int plan_fd, int status_fd)
{
	static struct plan plan;
	size_t size;
	uint32_t bad = 0;
	uint8_t *bytes = read_plan(plan_fd, &size);
	close(plan_fd);
	if (!bytes || plan_read(&plan, bytes, size, &bad) < 0) {
		send_problem(status_fd, FRAME_ERROR, 0, bad, (uint32_t)errno, "reading the plan");
		return 125;
	}
	sigset_t wanted;
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGCHLD);
	sigaddset(&wanted, SIGWINCH);
	sigprocmask(SIG_BLOCK, &wanted, NULL);
	int signals = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE, SIGTSTP, SIGTTOU, SIGTTIN };
	for (unsigned i = 0; i < sizeof ignored / sizeof *ignored; i++)
		signal(ignored[i], SIG_IGN);

	int control, master = -1, failed = 0;
	const int stdio[3] = { -1, -1, -1 };
	struct problem problem;
	pid_t pid = sandbox_start(&plan, stdio, &control, &problem);
	if (pid < 0) {
		send_problem(status_fd, FRAME_ERROR, 0, problem.op, (uint32_t)errno, problem.text);
		return 125;
	}
	struct message message;
	for (int fd; receive_message(control, &message, &fd) > 0;) {
		if (message.kind == MESSAGE_TERMINAL) {
			master = fd;
			copy_size(master);
		} else {
			failed |= message.kind == MESSAGE_ERROR;
			send_problem(status_fd, message.kind == MESSAGE_ERROR ? FRAME_ERROR : FRAME_WARNING, 0, message.op, message.error,
				     message.text);
		}
	}
	uint32_t number = (uint32_t)pid;
	if (!failed)
		send_frame(status_fd, FRAME_STARTED, 0, &number, sizeof number);
	if (master >= 0)
		make_raw();
	int status = attend(pid, master, signals);
	restore();
	if (!failed)
		send_exit(status_fd, 0, status);
	return 0;
}

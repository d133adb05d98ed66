/*
 * One process in the foreground: the caller's own standard streams, or a pty between them and it.
 * Signals are the caller's business (it knows the pid); this process only waits, copies and reports.
 *
 * A container's ends with the caller. A further process in a container (`exec`) goes on without it: its terminal is
 * read to nowhere then, as nobody who looks away from a program expects it to stop.
 */
#include "frames.h"
#include "keys.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define CHUNK 16384

static struct {
	int master;  /* of the pty, -1: none, or over */
	int input;   /* 0, or -1: nothing is read */
	int output;  /* 1, or -1: nobody looks */
	int is_tty;  /* whether input is one */
	int status;  /* where the caller is told, -1: it is gone, or not waited for */
	int signals;
	struct keys keys;
} r = { .master = -1, .input = -1, .output = 1, .status = -1 };

static struct termios saved;
static int is_raw;

static void make_raw(void)
{
	struct termios raw, inner;
	if (tcgetattr(0, &saved) < 0)
		return;
	raw = saved;
	cfmakeraw(&raw);
	/* why: where the pty leaves newlines alone, the caller's terminal has to return the carriage. */
	if (tcgetattr(r.master, &inner) == 0 && !(inner.c_oflag & ONLCR))
		raw.c_oflag |= OPOST;
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

static int write_all(int fd, const void *from, size_t size)
{
	for (const char *bytes = from; size > 0;) {
		ssize_t n = write(fd, bytes, size);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return -1;
		bytes += n;
		size -= (size_t)n;
	}
	return 0;
}

/* Whether a read that gave nothing may give something later. */
static int is_transient(ssize_t n)
{
	return n < 0 && (errno == EINTR || errno == EAGAIN);
}

/* The caller, its terminal and its job have no part in it any more. */
static void leave(void)
{
	restore();
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; fd < 3 && null >= 0; fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
	setsid();
	r.input = r.output = r.status = -1;
	/* Nothing to read for it: whoever reaps orphans takes it. */
	if (r.master < 0)
		_exit(0);
}

static void tell_left(uint32_t why)
{
	/* why: the terminal is the caller's again before it hears of it. */
	restore();
	send_frame(r.status, FRAME_LEFT, why, NULL, 0);
	leave();
}

static void pass_output(void)
{
	char buffer[CHUNK];
	ssize_t n = read(r.master, buffer, sizeof buffer);
	if (n > 0 && r.output >= 0 && write_all(r.output, buffer, (size_t)n) < 0) {
		r.output = -1;
		if (r.status >= 0)
			tell_left(LEFT_UNREAD);
	}
	if (n <= 0 && !is_transient(n))
		r.master = -1;
}

static void pass_input(void)
{
	uint8_t typed[CHUNK], passed[CHUNK + MAX_KEYS];
	int left = 0;
	ssize_t n = read(r.input, typed, sizeof typed);
	if (n > 0) {
		size_t size = keys_pass(&r.keys, typed, (size_t)n, passed, &left);
		write_all(r.master, passed, size);
		if (!left)
			return;
		tell_left(LEFT_BY_KEYS);
	} else if (!is_transient(n)) {
		/* End of a piped input: what the terminal's user would type. A terminal that ends was hung up. */
		if (n == 0 && !r.is_tty)
			write_all(r.master, "\004", 1);
		r.input = -1;
	}
}

/* Whether `pid` is gone, and how it ended. */
static int take_signals(pid_t pid, int *status)
{
	struct signalfd_siginfo info;
	int reaped = 0, got;
	while (read(r.signals, &info, sizeof info) > 0)
		if (info.ssi_signo == SIGWINCH && r.master >= 0 && r.output >= 0)
			copy_size(r.master);
	for (pid_t gone = waitpid(-1, &got, WNOHANG); gone > 0; gone = waitpid(-1, &got, WNOHANG))
		if (gone == pid) {
			reaped = 1;
			*status = got;
		}
	return reaped;
}

/* Copies until the process is gone and the pty is drained. */
static int attend(pid_t pid)
{
	int status = 0, reaped = 0;
	while (!reaped || r.master >= 0) {
		struct pollfd polled[] = {
			{ r.signals, POLLIN, 0 },
			{ r.master, POLLIN, 0 },
			{ r.master >= 0 ? r.input : -1, POLLIN, 0 },
			{ r.status, 0, 0 },
		};
		if (poll(polled, 4, -1) < 0)
			continue; /* interrupted */
		if (polled[1].revents)
			pass_output();
		if (polled[2].revents)
			pass_input();
		if (polled[0].revents)
			reaped |= take_signals(pid, &status);
		if (polled[3].revents && r.status >= 0)
			leave();
	}
	return status;
}

static int run(int plan_fd, int status_fd)
{
	sigset_t wanted;
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGCHLD);
	sigaddset(&wanted, SIGWINCH);
	sigprocmask(SIG_BLOCK, &wanted, NULL);
	r.signals = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE, SIGTSTP, SIGTTOU, SIGTTIN };
	for (unsigned i = 0; i < sizeof ignored / sizeof *ignored; i++)
		signal(ignored[i], SIG_IGN);

	pid_t pid = begin(plan_fd, status_fd, copy_size, &r.master);
	if (pid < 0)
		return 125;
	r.is_tty = r.input >= 0 && isatty(r.input);
	if (r.master >= 0 && r.input >= 0)
		make_raw();
	int status = attend(pid);
	restore();
	send_exit(status_fd, 0, status);
	return 0;
}

int run_one(int plan_fd, int status_fd)
{
	r.input = 0;
	return run(plan_fd, status_fd);
}

int exec_one(int plan_fd, int status_fd, const char *input, const char *keys)
{
	r.input = strcmp(input, "input") == 0 ? 0 : -1;
	r.status = status_fd;
	return keys_read(&r.keys, keys) < 0 ? 2 : run(plan_fd, status_fd);
}

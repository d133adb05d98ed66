/*
 * One container in the foreground: the caller's own standard streams, or a pty between them and it.
 * Signals are the caller's business (it knows the pid); this process only waits, copies and reports.
 */
#include "frames.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
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

int run_one(int plan_fd, int status_fd)
{
	sigset_t wanted;
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGCHLD);
	sigaddset(&wanted, SIGWINCH);
	sigprocmask(SIG_BLOCK, &wanted, NULL);
	int signals = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE, SIGTSTP, SIGTTOU, SIGTTIN };
	for (unsigned i = 0; i < sizeof ignored / sizeof *ignored; i++)
		signal(ignored[i], SIG_IGN);

	int master = -1;
	pid_t pid = begin(plan_fd, status_fd, copy_size, &master);
	if (pid < 0)
		return 125;
	if (master >= 0)
		make_raw();
	int status = attend(pid, master, signals);
	restore();
	send_exit(status_fd, 0, status);
	return 0;
}

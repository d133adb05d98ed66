/*
 * sd_notify(3) of a container: it sends to a socket of ours, and a process of its own hands on what is the service's to
 * say to whoever started the runtime. It ends with the container.
 *
 * why: the container may be in a user or network namespace that the service manager's socket cannot be reached from, and
 * what it says of processes (MAINPID=) is true in its own pid namespace alone.
 */
#include "notify.h"
#include "sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define MESSAGE_MAX 4096

/* "@name" is in the abstract namespace. */
static void hand_on(const char *manager, const char *message, size_t size)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length = strlen(manager);
	int fd = -1;
	if (*manager != '@') {
		fd = connect_path(manager, SOCK_DGRAM);
	} else if (length < sizeof address.sun_path) {
		memcpy(address.sun_path + 1, manager + 1, length - 1);
		fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (fd >= 0 && connect(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) < 0)
			size = 0;
	}
	if (fd >= 0 && size)
		send(fd, message, size, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (fd >= 0)
		close(fd);
}

/* Nothing of the launcher's stays open: whoever reads its output would wait for us. */
static void let_go(int first, int second)
{
	int null = open("/dev/null", O_RDWR);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	int low = first < second ? first : second, high = first < second ? second : first;
	syscall(SYS_close_range, 3u, (unsigned)low - 1, 0u);
	if (high > low + 1)
		syscall(SYS_close_range, (unsigned)low + 1, (unsigned)high - 1, 0u);
	syscall(SYS_close_range, (unsigned)high + 1, ~0u, 0u);
}

static void relay(int socket, int container, const char *manager)
{
	static char message[MESSAGE_MAX], lines[MESSAGE_MAX];
	struct pollfd polled[] = { { socket, POLLIN, 0 }, { container, POLLIN, 0 } };
	setsid();
	let_go(socket, container);
	for (;;) {
		if (poll(polled, 2, -1) < 0 && errno != EINTR)
			return;
		/* why: what a container says right before its end is said. */
		for (ssize_t n; (n = recv(socket, message, sizeof message, MSG_DONTWAIT)) > 0;) {
			size_t size = notify_select(message, (size_t)n, lines);
			if (size)
				hand_on(manager, lines, size);
		}
		if (polled[1].revents)
			return;
	}
}

int open_notify(struct parent *p, struct cursor c)
{
	const char *path = take_string(&c), *manager = take_string(&c);
	p->what = path;
	int socket = bind_path(path);
	/* why: the container's users are many, and its directory is theirs to see alone. */
	if (socket < 0 || chmod(path, 0777) < 0)
		return -1;
	int container = (int)syscall(SYS_pidfd_open, p->pid, 0);
	pid_t pid = container < 0 ? -1 : fork();
	if (pid == 0) {
		relay(socket, container, manager);
		_exit(0);
	}
	int error = errno;
	close(socket);
	if (container >= 0)
		close(container);
	errno = error;
	return pid < 0 ? -1 : 0;
}

/*
 * Node 20 forks itself to start a program: the kernel copies the page tables of a hundred megabytes, and afterwards every
 * page of which one of both writes the first byte. A child of vfork borrows the memory until it has executed its program.
 */
#include "spawn.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_FDS = 1100, MOST_STRINGS = 65536 };

/* As the kernel has it: glibc's own functions refuse to touch the signals that it keeps to itself. */
struct kernel_action {
	void (*handler)(int);
	unsigned long flags;
	void (*restorer)(void);
	uint64_t mask;
};

/* What the child works with, made before there is one: it must not allocate. */
struct prepared {
	const char *path, *directory;
	char **argv, **envp;
	int fds[MOST_FDS]; /* all of them above those that they become */
	uint32_t count;
};

static char **vector_of(char *strings, uint32_t count)
{
	char **vector = count > MOST_STRINGS ? NULL : calloc((size_t)count + 1, sizeof *vector);
	for (uint32_t i = 0; vector && i < count; i++, strings += strlen(strings) + 1)
		vector[i] = strings;
	return vector;
}

/* Nothing of this is seen by the parent but memory; a handler ends with exec, what is ignored would stay so. */
static void restore_signals(void)
{
	const struct kernel_action usual = { .handler = SIG_DFL };
	const uint64_t none = 0;
	for (int n = 1; n < 65; n++) {
		struct kernel_action now;
		if (syscall(SYS_rt_sigaction, n, NULL, &now, sizeof now.mask) == 0 && now.handler == SIG_IGN)
			syscall(SYS_rt_sigaction, n, &usual, NULL, sizeof now.mask);
	}
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof none);
}

/* In the child, in the parent's memory. Returns where it failed. */
static void become(const struct prepared *p)
{
	for (uint32_t i = 0; i < p->count; i++)
		if (dup2(p->fds[i], (int)i) < 0)
			return;
	/* Whatever else the caller left open without O_CLOEXEC; older kernels have no such call. */
	syscall(SYS_close_range, p->count, ~0u, CLOSE_RANGE_CLOEXEC);
	if (*p->directory && chdir(p->directory) < 0)
		return;
	restore_signals();
	execve(p->path, p->argv, p->envp);
}

/* No handler of ours may run in the child, so all signals wait meanwhile. */
static int64_t start(const struct prepared *p)
{
	sigset_t all, before;
	volatile int failure = 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid_t pid = vfork();
	if (pid == 0) {
		become(p);
		failure = errno;
		_exit(127);
	}
	int error = pid < 0 ? errno : failure;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (pid > 0 && error)
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	return error ? -error : pid;
}

/* A descriptor above `count` of what an entry of `fds` is. */
static int open_above(int32_t fd, const struct sockets *its, uint32_t count)
{
	int from = fd == SOCKET ? its->socket : fd == INPUT ? its->input : fd;
	if (fd == NULL_DEVICE)
		from = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (from < 0) {
		errno = fd == NULL_DEVICE ? errno : EBADF;
		return -1;
	}
	int above = fcntl(from, F_DUPFD_CLOEXEC, (int)count);
	if (fd == NULL_DEVICE)
		close(from);
	return above;
}

static int64_t spawn_with(const struct program *program, const struct sockets *its)
{
	struct prepared p = { .path = program->path, .directory = program->directory };
	int64_t result = 0;
	p.argv = vector_of(program->arguments, program->arguments_count);
	p.envp = vector_of(program->environment, program->environment_count);
	if (!p.argv || !p.envp)
		result = -ENOMEM;
	for (; p.count < program->fds_count && result == 0; p.count++)
		if ((p.fds[p.count] = open_above(program->fds[p.count], its, program->fds_count)) < 0) {
			result = -errno;
			break;
		}
	if (result == 0)
		result = start(&p);
	while (p.count > 0)
		close(p.fds[--p.count]);
	free(p.argv);
	free(p.envp);
	return result;
}

static int has(const struct program *program, int32_t kind)
{
	for (uint32_t i = 0; i < program->fds_count; i++)
		if (program->fds[i] == kind)
			return 1;
	return 0;
}

static int open_pair(int is_wanted, int32_t *ours, int32_t *its)
{
	int pair[2] = { -1, -1 };
	if (is_wanted && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	*ours = pair[0];
	*its = pair[1];
	return 0;
}

static void close_both(const struct sockets *sockets)
{
	if (sockets->socket >= 0)
		close(sockets->socket);
	if (sockets->input >= 0)
		close(sockets->input);
}

int64_t spawn_program(const struct program *program, struct sockets *ours)
{
	struct sockets its = { -1, -1 };
	if (program->fds_count > MOST_FDS)
		return -EINVAL;
	*ours = its;
	int64_t result = open_pair(has(program, SOCKET), &ours->socket, &its.socket);
	if (result == 0)
		result = open_pair(has(program, INPUT), &ours->input, &its.input);
	if (result == 0)
		result = spawn_with(program, &its);
	close_both(&its);
	if (result < 0)
		close_both(ours);
	return result;
}

/*
 * Hooks of a plan, walked as they are run, and sources as a child asks for them: only that nothing is started or opened.
 * What would be executed is looked at.
 */
#include "fuzz.h"
#include "../launch/sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int status;
static int pretend_to_wait(int *ended)
{
	*ended = status;
	return 1;
}

static int pretend_to_call(long number, ...)
{
	(void)number;
	return dup(0);
}

#define fork() 1
#define access(path, mode) ((void)(path), 0)
#define poll(polled, count, timeout) ((void)(polled), (void)(timeout), 1)
#define syscall(...) pretend_to_call(__VA_ARGS__)
#define kill(pid, signal) ((void)(pid), 0)
#define waitpid(pid, ended, flags) ((void)(pid), pretend_to_wait(ended))
#define open(path, ...) ((void)(path), dup(0))
#include "../launch/hooks.c"
#include "../launch/source.c"

int become_program(struct sandbox *s)
{
	(void)s;
	abort();
}

void sandbox_go(int control, pid_t pid)
{
	(void)control;
	(void)pid;
}

int connect_path(const char *path, int type)
{
	(void)type;
	errno = strlen(path) > 4096 ? ENAMETOOLONG : ENOENT;
	return -1;
}

const char *path_below(const char *path, const char *above)
{
	(void)(strlen(path) + (above ? strlen(above) : 0));
	return NULL;
}

int open_elsewhere(int process, int (*open_there)(const void *), const void *argument)
{
	(void)process;
	return open_there(argument);
}

int receive_message(int control, struct message *message, int *fd)
{
	(void)control;
	(void)message;
	(void)fd;
	abort();
}

void send_message(struct sandbox *s, enum message_kind kind, int error, const char *text, int fd)
{
	(void)s;
	(void)kind;
	(void)error;
	(void)text;
	(void)fd;
	abort();
}

int send_descriptor(int socket, const void *text, size_t size, int fd)
{
	(void)socket;
	(void)text;
	(void)size;
	(void)fd;
	return 0;
}

static void run_all(const struct plan *plan)
{
	struct problem problem;
	for (uint32_t phase = HOOK_RUNTIME; phase <= HOOK_POSTSTOP; phase++) {
		struct message message = { .kind = MESSAGE_SYNC, .error = phase };
		memset(&problem, 0, sizeof problem);
		sandbox_attend(plan, 1, -1, &message, -1, &problem);
		if (!memchr(problem.text, 0, sizeof problem.text))
			abort();
	}
	struct message terminal = { .kind = MESSAGE_TERMINAL };
	sandbox_attend(plan, 1, -1, &terminal, 0, &problem);
	for (uint32_t i = 0; i <= plan->count; i++) {
		struct message source = { .kind = MESSAGE_SOURCE, .op = i };
		sandbox_attend(plan, 1, -1, &source, -1, &problem);
	}
	for (uint32_t i = 0; i < plan->count; i++) {
		const char *what = "";
		if (plan->ops[i].code == OP_HOOK_STREAMS)
			open_hook_streams(cursor_of(&plan->ops[i]), &what);
		if (plan->ops[i].code == OP_HOOK)
			run_hook(plan, cursor_of(&plan->ops[i]), 1, NULL, &what);
		(void)strlen(what);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct plan plan;
	uint32_t bad;
	if (plan_read(&plan, bytes, size, &bad) == 0) {
		status = bytes[size - 1] % 2 ? 9 : bytes[size - 1] << 8;
		run_all(&plan);
	}
	plan_free(&plan);
	return 0;
}

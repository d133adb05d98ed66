/* From a plan on a descriptor to a process that runs its program, or waits to: what `run` and `create` share. */
#include "frames.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

uint8_t *read_plan(int fd, size_t *size)
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

static int has_console(const struct plan *plan)
{
	for (uint32_t i = 0; i < plan->count; i++)
		if (plan->ops[i].code == OP_CONSOLE)
			return 1;
	return 0;
}

/* Messages until the program runs or waits for its start; 0, or -1 where it was told that it does not. */
static int follow(const struct plan *plan, pid_t pid, int control, int status_fd, void (*on_terminal)(int), int *master)
{
	struct message message;
	struct problem problem;
	int failed = 0;
	for (int fd; receive_message(control, &message, &fd) > 0;) {
		if (message.kind == MESSAGE_ERROR || message.kind == MESSAGE_WARNING) {
			failed |= message.kind == MESSAGE_ERROR;
			send_problem(status_fd, message.kind == MESSAGE_ERROR ? FRAME_ERROR : FRAME_WARNING, 0, message.op, message.error,
				     message.text);
		} else if (message.kind == MESSAGE_TERMINAL && !has_console(plan) && on_terminal) {
			*master = fd;
			on_terminal(fd);
			continue;
		} else if (sandbox_attend(plan, pid, control, &message, fd, &problem) < 0) {
			send_problem(status_fd, FRAME_ERROR, 0, problem.op, (uint32_t)errno, problem.text);
			kill(pid, SIGKILL);
			failed = 1;
		}
		if (fd >= 0)
			close(fd);
		if (failed)
			break;
	}
	close(control);
	return failed ? -1 : 0;
}

pid_t begin(int plan_fd, int status_fd, void (*on_terminal)(int), int *master)
{
	static struct plan plan;
	size_t size;
	uint32_t bad = 0;
	uint8_t *bytes = read_plan(plan_fd, &size);
	close(plan_fd);
	if (!bytes || plan_read(&plan, bytes, size, &bad) < 0) {
		send_problem(status_fd, FRAME_ERROR, 0, bad, (uint32_t)errno, "reading the plan");
		return -1;
	}
	struct winsize window;
	if (on_terminal && (ioctl(0, TIOCGWINSZ, &window) == 0 || ioctl(1, TIOCGWINSZ, &window) == 0)) {
		plan.rows = window.ws_row;
		plan.columns = window.ws_col;
	}
	if (plan.start_flags & START_TELLS)
		plan.told = status_fd;
	int control;
	const int stdio[3] = { -1, -1, -1 };
	struct problem problem;
	pid_t pid = sandbox_start(&plan, stdio, &control, &problem);
	if (pid < 0) {
		send_problem(status_fd, FRAME_ERROR, 0, problem.op, (uint32_t)errno, problem.text);
		return -1;
	}
	if (follow(&plan, pid, control, status_fd, on_terminal, master) < 0) {
		waitpid(pid, NULL, 0);
		return -1;
	}
	uint32_t number = (uint32_t)pid;
	send_frame(status_fd, FRAME_STARTED, 0, &number, sizeof number);
	return pid;
}

/* The container outlives this process (START_SURVIVE): it is the nearest subreaper's child afterwards. */
int create_one(int plan_fd, int status_fd)
{
	int master = -1;
	signal(SIGPIPE, SIG_IGN);
	return begin(plan_fd, status_fd, NULL, &master) < 0 ? 125 : 0;
}

/* Hooks of the OCI config: a program, the container's state on its standard input, a time limit. */
#include "sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define STATE_MAX 65536

/* The state document of OP_STATE; its length, or -1 where it does not fit. */
static int write_state(struct cursor parts, pid_t pid, char *buffer, size_t size)
{
	const char *a = take_string(&parts), *b = take_string(&parts), *c = take_string(&parts);
	/* why: hooks come after the second step of the specification's life cycle, which is what "created" means there. */
	int length = snprintf(buffer, size, "%screated%s%d%s", a, b, pid, c);
	if (length >= 0 && (size_t)length < size)
		return length;
	errno = E2BIG;
	return -1;
}

static const struct op *find_op(const struct plan *plan, uint16_t code)
{
	for (uint32_t i = 0; i < plan->count; i++)
		if (plan->ops[i].code == code)
			return &plan->ops[i];
	return NULL;
}

/* [1] and [2]; kept over fork and pivot, closed by exec. */
static int streams[3] = { -1, -1, -1 };

int open_hook_streams(struct cursor c, const char **what)
{
	for (int number = 1; number < 3; number++) {
		*what = take_string(&c);
		if (streams[number] >= 0)
			close(streams[number]);
		streams[number] = **what ? open(*what, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0644) : -1;
		if (**what && streams[number] < 0)
			return -1;
	}
	return 0;
}

int hook_stream(int number)
{
	return streams[number];
}

static void exec_hook(int input, const char *path, char **args, char **environment, struct sandbox *as)
{
	dup2(input, 0);
	for (int number = 1; number < 3; number++)
		if (streams[number] >= 0)
			dup2(streams[number], number);
	syscall(SYS_close_range, 3u, ~0u, 4u /* CLOSE_RANGE_CLOEXEC */);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int n = 1; n < 65; n++)
		signal(n, SIG_DFL);
	if (as && become_program(as) < 0)
		_exit(126);
	execve(path, args, environment);
	_exit(errno == ENOENT ? 127 : 126);
}

/* Writes the state without waiting for a reader longer than for the hook: a pipe takes 64 KiB. */
static int feed(int fd, const struct plan *plan, pid_t pid)
{
	static char state[STATE_MAX];
	const struct op *op = find_op(plan, OP_STATE);
	int length = op ? write_state(cursor_of(op), pid, state, sizeof state) : 0;
	if (length > 0 && write(fd, state, (size_t)length) < 0 && errno != EPIPE)
		return -1;
	return length < 0 ? -1 : 0;
}

/* The hook's wait status; -1 with ETIME where it took too long (and was killed). */
static int await_hook(pid_t hook, uint32_t timeout_ms)
{
	int status;
	int descriptor = (int)syscall(SYS_pidfd_open, hook, 0);
	struct pollfd polled = { descriptor, POLLIN, 0 };
	int ready;
	do
		ready = poll(&polled, 1, timeout_ms ? (int)timeout_ms : -1);
	while (ready < 0 && errno == EINTR);
	close(descriptor);
	if (ready == 0)
		kill(hook, SIGKILL);
	while (waitpid(hook, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	if (ready != 0)
		return status;
	errno = ETIME;
	return -1;
}

int run_hook(const struct plan *plan, struct cursor hook, pid_t pid, struct sandbox *as, const char **what)
{
	static char *args[HOOK_WORDS + 1], *environment[HOOK_WORDS + 1];
	static char text[64];
	take_u32(&hook);
	uint32_t timeout = take_u32(&hook), n_args = take_u32(&hook), n_environment = take_u32(&hook);
	const char *path = take_string(&hook);
	for (uint32_t i = 0; i < n_args; i++)
		args[i] = (char *)take_string(&hook);
	for (uint32_t i = 0; i < n_environment; i++)
		environment[i] = (char *)take_string(&hook);
	args[n_args] = environment[n_environment] = NULL;
	/* why: a hook that names no variables gets the runtime's, or the program's, as with every other runtime. */
	char **variables = n_environment > 0 ? environment : as ? plan->envp
								: environ;
	int input[2];
	*what = path;
	signal(SIGPIPE, SIG_IGN);
	if (access(path, X_OK) < 0 || pipe2(input, O_CLOEXEC) < 0)
		return -1;
	pid_t child = fork();
	if (child == 0)
		exec_hook(input[0], path, args, variables, as);
	close(input[0]);
	int fed = child < 0 ? -1 : feed(input[1], plan, pid);
	int error = errno;
	close(input[1]);
	errno = error;
	int ended = child < 0 ? -1 : await_hook(child, timeout);
	if (ended < 0 || fed < 0)
		return -1;
	if (ended == 0)
		return 0;
	if (WIFSIGNALED(ended))
		snprintf(text, sizeof text, "killed by signal %d", WTERMSIG(ended));
	else
		snprintf(text, sizeof text, "exit status %d", WEXITSTATUS(ended));
	*what = text;
	errno = ECANCELED;
	return -1;
}

static int run_parent_hooks(const struct plan *plan, uint32_t phase, pid_t pid, struct problem *problem)
{
	for (uint32_t i = 0; i < plan->count; i++) {
		struct cursor c = cursor_of(&plan->ops[i]), peek = c;
		if (plan->ops[i].code != OP_PARENT_HOOK || take_u32(&peek) != phase)
			continue;
		const char *what = "";
		if (run_hook(plan, c, pid, NULL, &what) == 0)
			continue;
		int error = errno;
		problem->op = i;
		snprintf(problem->text, sizeof problem->text, "%s", what);
		errno = error;
		return -1;
	}
	return 0;
}

static int hand_on_terminal(const struct plan *plan, int master, struct problem *problem)
{
	const struct op *op = find_op(plan, OP_CONSOLE);
	if (!op)
		return 0;
	struct cursor c = cursor_of(op);
	const char *path = take_string(&c);
	int socket = connect_path(path, 1 /* SOCK_STREAM */);
	static const char name[] = "/dev/ptmx";
	int done = socket < 0 ? -1 : send_descriptor(socket, name, sizeof name - 1, master);
	int error = errno;
	if (socket >= 0)
		close(socket);
	problem->op = (uint32_t)(op - plan->ops);
	snprintf(problem->text, sizeof problem->text, "%s", path);
	errno = error;
	return done;
}

int sandbox_attend(const struct plan *plan, pid_t pid, int control, const struct message *message, int fd,
		   struct problem *problem)
{
	if (message->kind == MESSAGE_TERMINAL)
		return hand_on_terminal(plan, fd, problem);
	if (message->kind == MESSAGE_SOURCE)
		return send_source(plan, pid, control, message, fd, problem);
	if (message->kind != MESSAGE_SYNC)
		return 0;
	if (run_parent_hooks(plan, message->error, pid, problem) < 0)
		return -1;
	sandbox_go(control, pid);
	return 0;
}

/*
 * --init: this program stays as the container's first process, hands signals on and buries orphans. The plan goes
 * on in its child, which becomes the container's program. Ends with it, as it ended.
 */
#include "sandbox.h"
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Waits for whoever has died; leaves when the program was among them. */
static void bury(pid_t program)
{
	int status;
	for (pid_t pid = waitpid(-1, &status, WNOHANG); pid > 0; pid = waitpid(-1, &status, WNOHANG))
		if (pid == program)
			_exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

static void serve_program(pid_t program, const sigset_t *all)
{
	/* Nothing of the monitor's may stay open here: not its lock, not its sockets, not the pipe that tells of exec. */
	syscall(SYS_close_range, 3u, ~0u, 0u);
	prctl(PR_SET_NAME, "tsbuild-init", 0, 0, 0);
	/* why: changing credentials cleared it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (chdir("/") < 0)
		_exit(125);
	for (;;) {
		int number = sigwaitinfo(all, NULL);
		if (number == SIGCHLD)
			bury(program);
		else if (number > 0 && number != SIGTTOU && number != SIGTTIN)
			kill(program, number);
	}
}

int op_init(struct sandbox *s)
{
	sigset_t all, before;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid_t program = fork();
	if (program < 0)
		return -1;
	if (program > 0)
		serve_program(program, &all);
	/* The program was made ready before: it must not start deaf. */
	sigprocmask(SIG_SETMASK, &before, NULL);
	/* In the background of a terminal it could not read: it leads the session's foreground instead. */
	if (s->plan->terminal && setpgid(0, 0) == 0)
		tcsetpgrp(s->stdio[0], getpid());
	return 0;
}

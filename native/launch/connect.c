/* Where a created container waits for its start, and whom a filter is handed to. */
#include "sandbox.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * The container is created: our end of the control socket closes, which is what the parent waits for. Whoever
 * connects starts the program; what goes wrong from here on is told there, and success by closing (exec).
 */
static void leave(int signal)
{
	_exit(128 + signal);
}

int op_wait_start(struct sandbox *s)
{
	static const int ending[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };
	tell(s->told, "init: closing the pipe to signal completion");
	s->control = s->told = -1;
	if (take_stdio(s) < 0)
		return -1;
	/* why: until exec nothing closes what came with the clone, and somebody waits for the end of a pipe among it. */
	if (close_others(s) < 0)
		return -1;
	/* why: to the first process of a pid namespace these mean nothing unless it says so; OP_READY takes it back. */
	for (unsigned i = 0; i < sizeof ending / sizeof *ending; i++)
		signal(ending[i], leave);
	do
		s->control = accept4(s->parent->start_socket, NULL, NULL, SOCK_CLOEXEC);
	while (s->control < 0 && (errno == EINTR || errno == ECONNABORTED));
	return s->control < 0 ? -1 : 0;
}

int send_listener(struct sandbox *s, int filter)
{
	static char state[65536];
	struct cursor parts = s->parent->listener_state;
	const char *a = take_string(&parts), *b = take_string(&parts), *c = take_string(&parts), *d = take_string(&parts);
	int length = snprintf(state, sizeof state, "%screating%s%d%s%d%s", a, b, s->pid, c, s->pid, d);
	s->what = "sending the filter's descriptor";
	if (length < 0 || (size_t)length >= sizeof state) {
		errno = E2BIG;
		return -1;
	}
	return send_descriptor(s->parent->listener, state, (size_t)length, filter);
}

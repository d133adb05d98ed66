/*
 * A network namespace for the next container that wants a new one, made while nothing is to be done: making one takes a
 * third of a start. Nobody was in it but the server, to bring its loopback up.
 */
#include "sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

static int spare = -1;
/* One that could not be made will not be made the next time. */
static int is_refused;

static int open_network(void)
{
	return open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
}

int wants_spare_network(void)
{
	return spare < 0 && !is_refused;
}

void make_spare_network(void)
{
	int own = open_network();
	if (own < 0 || unshare(CLONE_NEWNET) < 0) {
		is_refused = 1;
		close(own);
		return;
	}
	/* The container does this too; a second time costs nothing. */
	op_loopback();
	spare = open_network();
	is_refused = spare < 0;
	/* We cannot go on in a namespace that is not ours. */
	if (setns(own, CLONE_NEWNET) < 0)
		abort();
	close(own);
}

/* What is born in a user namespace has networks that belong to that; what is staged makes its own. */
void take_spare_network(struct parent *p)
{
	if (spare < 0 || !(p->plan->clone_flags & CLONE_NEWNET) || p->plan->clone_flags & CLONE_NEWUSER || p->plan->is_staged ||
	    p->joins == MAX_JOINS)
		return;
	p->join[p->joins].type = CLONE_NEWNET;
	p->join[p->joins].op = 0;
	p->join[p->joins++].fd = spare;
	p->has_network = 1;
	spare = -1;
}

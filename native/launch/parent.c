/* Operations of the parent's: before the clone what the child is born into, after it what only an outsider may do. */
#include "sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int open_join(struct parent *p, struct cursor c)
{
	uint32_t type = take_u32(&c);
	p->what = take_string(&c);
	if (p->joins == MAX_JOINS) {
		errno = E2BIG;
		return -1;
	}
	int fd = open(p->what, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -1;
	p->join[p->joins].type = type;
	p->join[p->joins++].fd = fd;
	return 0;
}

static int enter_cgroup(struct parent *p, struct cursor c)
{
	char text[16];
	int length = snprintf(text, sizeof text, "%d", p->pid);
	p->what = take_string(&c);
	int fd = open(p->what, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -1;
	ssize_t n = write(fd, text, (size_t)length);
	int error = errno;
	close(fd);
	errno = error;
	return n == length ? 0 : -1;
}

int parent_execute(struct parent *p, const struct op *op)
{
	struct cursor c = cursor_of(op);
	switch (op->code) {
	case OP_JOIN:
		return open_join(p, c);
	case OP_CGROUP_ENTER:
		return enter_cgroup(p, c);
	case OP_CGROUP_MAKE:
	case OP_CGROUP_ENABLE:
	case OP_CGROUP_WRITE:
	case OP_CGROUP_TASKS:
	case OP_CGROUP_BORN:
	case OP_CGROUP_DEVICES:
		return cgroup_execute(p, op);
	}
	errno = EINVAL;
	return -1;
}

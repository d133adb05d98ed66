/* The life of a container's first process up to exec: clone, then the plan's operations, one after the other. */
#include "sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

void send_message(struct sandbox *s, enum message_kind kind, int error, const char *text, int fd)
{
	struct message message = { .kind = kind, .op = s->op, .error = (uint32_t)error };
	strncpy(message.text, text ? text : "", sizeof message.text - 1);
	struct iovec part = { &message, sizeof message };
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} rights = { 0 };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };
	if (fd >= 0) {
		header.msg_control = rights.bytes;
		header.msg_controllen = sizeof rights.bytes;
		struct cmsghdr *control = CMSG_FIRSTHDR(&header);
		control->cmsg_level = SOL_SOCKET;
		control->cmsg_type = SCM_RIGHTS;
		control->cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(control), &fd, sizeof fd);
	}
	sendmsg(s->control, &header, MSG_NOSIGNAL);
}

/* The host's /dev/null, which is what masks are made of, opened before anything of the image is in reach. */
static int open_dev_null(void)
{
	int fd = open("/dev/null", O_PATH | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3))
		return fd;
	errno = ENODEV;
	return -1;
}

static int prepare(struct sandbox *s)
{
	s->what = "setting up";
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	/* why: nobody inside may ptrace us or read our /proc/PID until exec (CVE-2016-9962, CVE-2019-5736). */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (setsid() < 0)
		return -1;
	umask(0);
	s->dev_null = open_dev_null();
	if (s->dev_null < 0)
		return -1;
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

static int execute(struct sandbox *s, const struct op *op)
{
	struct cursor c = cursor_of(op);
	switch (op->code) {
	case OP_NAMESPACES:
		return prepare(s);
	case OP_ROOT:
		return op_root(s, c);
	case OP_MOUNT:
		return op_mount(s, c);
	case OP_BIND:
		return op_bind(s, c);
	case OP_ASSEMBLED:
		return op_assembled(s, c);
	case OP_FILE:
		return op_file(s, c);
	case OP_MKDIR:
		return op_mkdir(s, c);
	case OP_MKNOD:
		return op_mknod(s, c);
	case OP_SYMLINK:
		return op_symlink(s, c);
	case OP_MASK:
		return op_mask(s, c);
	case OP_READONLY:
		return op_readonly(s, c);
	case OP_ROOT_READONLY:
		return op_root_readonly(s);
	case OP_TERMINAL:
		return op_terminal(s, c);
	case OP_PIVOT:
		return op_pivot(s);
	case OP_HOSTNAME: {
		const char *name = take_string(&c);
		return sethostname(name, strlen(name));
	}
	case OP_LOOPBACK:
		return op_loopback();
	case OP_CWD:
		return op_cwd(s, c);
	case OP_RLIMIT:
		return op_rlimit(s, c);
	case OP_UMASK:
		umask((mode_t)take_u32(&c));
		return 0;
	case OP_OOM:
		return op_oom(c);
	case OP_CREDENTIALS:
		return op_credentials(c);
	case OP_NO_NEW_PRIVS:
		return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	case OP_SECCOMP:
		return op_seccomp(op);
	case OP_EXEC:
		return op_exec(s);
	case OP_CGROUP_SELF:
		return op_cgroup_self(s);
	case OP_CGROUP_NAMESPACE:
		return op_cgroup_namespace();
	}
	errno = EINVAL;
	return -1;
}

/* Enters what the parent opened. Its own namespaces are new already: they came with the clone. */
static int enter_joined(const struct parent *p)
{
	for (int i = 0; i < p->joins; i++)
		if (setns(p->join[i].fd, (int)p->join[i].type) < 0)
			return -1;
	return 0;
}

/* Waits for the parent, which may have to enter us into cgroups, write our id maps, give us a network. */
static void wait_for_parent(int control)
{
	char byte;
	while (recv(control, &byte, 1, 0) < 0 && errno == EINTR)
		;
}

static void child(const struct parent *p, const int stdio[3], int control)
{
	const struct plan *plan = p->plan;
	struct sandbox s = { .plan = plan, .control = control, .root = -1, .dev_null = -1, .files = -1 };
	memcpy(s.stdio, stdio, sizeof s.stdio);
	s.tasks = p->tasks;
	s.hierarchies = p->hierarchies;
	if (plan->has_after)
		wait_for_parent(control);
	int failed = enter_joined(p) < 0;
	s.what = "entering a namespace";
	for (s.op = 0; s.op < plan->count && !failed; s.op++) {
		if (phase_of(&plan->ops[s.op]) != PHASE_CHILD)
			continue;
		s.what = "";
		failed = execute(&s, &plan->ops[s.op]) < 0;
		if (failed)
			break;
	}
	send_message(&s, MESSAGE_ERROR, errno, s.what, -1);
	_exit(127);
}

static int run_phase(struct parent *p, enum op_phase phase)
{
	for (p->op = 0; p->op < p->plan->count; p->op++) {
		const struct op *op = &p->plan->ops[p->op];
		p->what = "";
		if (phase_of(op) == phase && parent_execute(p, op) < 0)
			return -1;
	}
	return 0;
}

static pid_t clone_child(struct parent *p)
{
	const uint32_t allowed = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP;
	struct clone_args args = { .flags = p->plan->clone_flags & allowed, .exit_signal = SIGCHLD };
	if (p->cgroup >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)p->cgroup;
	}
	p->op = 0;
	p->what = "clone";
	return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

/* Closes what the parent opened, keeping errno. */
static void close_parent(struct parent *p)
{
	int error = errno;
	for (int i = 0; i < p->joins; i++)
		close(p->join[i].fd);
	for (int i = 0; i < p->hierarchies; i++)
		close(p->tasks[i]);
	if (p->cgroup >= 0)
		close(p->cgroup);
	errno = error;
}

static pid_t fail(struct parent *p, struct problem *problem)
{
	int error = errno;
	problem->op = p->op;
	snprintf(problem->text, sizeof problem->text, "%s", p->what);
	if (p->pid > 0) {
		kill(p->pid, SIGKILL);
		waitpid(p->pid, NULL, 0);
	}
	errno = error;
	close_parent(p);
	return -1;
}

pid_t sandbox_start(const struct plan *plan, const int stdio[3], int *control, struct problem *problem)
{
	int pair[2];
	struct parent p = { .plan = plan, .cgroup = -1, .what = "clone" };
	if (run_phase(&p, PHASE_BEFORE) < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return fail(&p, problem);
	p.pid = clone_child(&p);
	if (p.pid == 0) {
		close(pair[0]);
		child(&p, stdio, pair[1]);
	}
	close(pair[1]);
	if (p.pid < 0 || run_phase(&p, PHASE_AFTER) < 0) {
		pid_t failed = fail(&p, problem);
		close(pair[0]);
		return failed;
	}
	if (plan->has_after)
		send(pair[0], "", 1, MSG_NOSIGNAL);
	close_parent(&p);
	*control = pair[0];
	return p.pid;
}

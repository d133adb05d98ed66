/* The life of a container's first process up to exec: clone, then the plan's operations, one after the other. */
#include "cgroup.h"
#include "layers.h"
#include "sandbox.h"
#include "frames.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
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
	if (!(s->plan->start_flags & START_SURVIVE))
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	/* why: nobody inside may ptrace us or read our /proc/PID until exec (CVE-2016-9962, CVE-2019-5736). */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (setsid() < 0)
		return -1;
	umask(0);
	if (s->plan->start_flags & START_HERE) {
		s->root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
		return s->root < 0 ? -1 : 0;
	}
	s->dev_null = open_dev_null();
	if (s->dev_null < 0)
		return -1;
	if (s->is_apart || s->plan->start_flags & START_SHARED)
		return 0;
	uint32_t propagation = s->plan->propagation ? s->plan->propagation : MS_REC | MS_PRIVATE;
	return mount(NULL, "/", NULL, propagation, NULL);
}

/* Waits until the parent has run its hooks. */
static int op_sync(struct sandbox *s, struct cursor c)
{
	struct message message = { .kind = MESSAGE_SYNC, .op = s->op, .error = take_u32(&c) };
	if (send(s->control, &message, sizeof message, MSG_NOSIGNAL) < 0)
		return -1;
	return wait_for_parent(s);
}

/* why: before pivot a hook's relative paths are those of the root to be, as every other runtime has it. */
static int op_hook(struct sandbox *s, struct cursor c)
{
	struct cursor peek = c;
	int is_start = take_u32(&peek) == HOOK_START;
	if (!is_start && s->root >= 0 && fchdir(s->root) < 0)
		return -1;
	return run_hook(s->plan, c, s->pid, is_start ? s : NULL, &s->what);
}

static int execute(struct sandbox *s, const struct op *op);

int become_program(struct sandbox *s)
{
	s->is_hook = 1;
	for (uint32_t i = s->op + 1; i < s->plan->count; i++) {
		const struct op *op = &s->plan->ops[i];
		switch (op->code) {
		case OP_LABEL:
		case OP_HOME:
		case OP_NO_NEW_PRIVS:
		case OP_CREDENTIALS:
		case OP_SECCOMP:
			if (execute(s, op) < 0)
				return -1;
		}
	}
	return 0;
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
		return op_oom(s, c);
	case OP_CREDENTIALS:
		return op_credentials(c);
	case OP_NO_NEW_PRIVS:
		return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	case OP_SECCOMP:
		return op_seccomp(s, c);
	case OP_EXEC:
		return op_exec(s);
	case OP_DETACH:
		return op_detach(s, c);
	case OP_LEAVE:
		_exit(0);
	case OP_CGROUP_SELF:
		return op_cgroup_self(s);
	case OP_CGROUP_NAMESPACE:
		return op_cgroup_namespace();
	case OP_ATTACH:
		return op_attach(s, c);
	case OP_SYNC:
		return op_sync(s, c);
	case OP_HOOK:
		return op_hook(s, c);
	case OP_SYSCTL:
		return op_sysctl(s, c);
	case OP_DOMAINNAME: {
		const char *name = take_string(&c);
		return setdomainname(name, strlen(name));
	}
	case OP_EXEC_CHECK:
		return op_exec_check(s);
	case OP_KEYRING:
		return op_keyring(c);
	case OP_PERSONALITY:
		return personality(take_u32(&c)) < 0 ? -1 : 0;
	case OP_SCHEDULER:
		return op_scheduler(c);
	case OP_IOPRIO:
		return op_ioprio(c);
	case OP_AFFINITY:
		return op_affinity(s, op);
	case OP_MEMPOLICY:
		return op_mempolicy(op);
	case OP_WAIT_START:
		return op_wait_start(s);
	case OP_LABEL:
		return op_label(s, c);
	case OP_DEVICE:
		return op_device(s, c);
	case OP_CHROOT:
		return op_chroot(s);
	case OP_CHROOT_ALONE:
		return fchdir(s->root) < 0 || chroot(".") < 0 || chdir("/") < 0 ? -1 : close_others(s);
	case OP_ROOT_PROPAGATION:
		return mount(NULL, "/", NULL, take_u32(&c), NULL);
	case OP_READY:
		return op_ready(s);
	case OP_HOME:
		return op_home(s, c);
	case OP_INIT:
		return op_init(s);
	case OP_STATE:    /* read by hooks */
	case OP_PRESERVE: /* done by OP_EXEC */
		return 0;
	}
	errno = EINVAL;
	return -1;
}

static void child(const struct birth *birth)
{
	const struct parent *p = birth->p;
	const struct plan *plan = p->plan;
	struct sandbox s = {
		.plan = plan, .parent = p, .control = birth->control, .root = -1, .dev_null = -1, .files = -1, .proc = -1, .what = "",
		.empty = -1, .parent_directory = -1, .is_apart = p->template >= 0, .told = plan->told,
	};
	close(birth->other);
	memcpy(s.stdio, birth->stdio, sizeof s.stdio);
	s.tasks = p->tasks;
	s.hierarchies = p->hierarchies;
	int failed = enter_namespaces(&s) < 0;
	if (!failed) {
		tell(s.told, "nsexec[%d]: <= nsexec container setup", (int)getpid());
		tell(s.told, "child process in init()");
	}
	for (uint32_t i = 0; i < plan->count && !failed; i++) {
		if (phase_of(&plan->ops[i]) != PHASE_CHILD)
			continue;
		s.op = i;
		s.what = "";
		failed = execute(&s, &plan->ops[i]) < 0;
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

void sandbox_go(int control, pid_t pid)
{
	uint32_t number = (uint32_t)pid;
	send(control, &number, sizeof number, MSG_NOSIGNAL);
}

/* The process in between has entered the namespaces and tells who was born there. */
static int replace_pid(struct parent *p, int control, struct problem *problem)
{
	struct message message;
	int fd;
	sandbox_go(control, p->pid);
	if (!receive_message(control, &message, &fd)) {
		p->what = "the process that enters namespaces died";
		errno = ECHILD;
		return -1;
	}
	if (message.kind != MESSAGE_PID) {
		p->op = message.op;
		memcpy(problem->text, message.text, sizeof problem->text);
		p->what = NULL;
		errno = (int)message.error;
		return -1;
	}
	waitpid(p->pid, NULL, 0);
	p->pid = (pid_t)message.error;
	return 0;
}

static pid_t fail(struct parent *p, struct problem *problem)
{
	int error = errno;
	problem->op = p->op;
	if (p->what)
		snprintf(problem->text, sizeof problem->text, "%s", p->what);
	if (p->pid > 0) {
		kill(p->pid, SIGKILL);
		waitpid(p->pid, NULL, 0);
	}
	parent_close(p);
	errno = error;
	return -1;
}

pid_t sandbox_start(const struct plan *plan, const int stdio[3], int *control, struct problem *problem)
{
	int pair[2];
	static struct parent p;
	note_ignored_signals();
	p = (struct parent){ .plan = plan, .stdio = stdio, .cgroup = -1, .template = plan->may_be_apart ? mount_template() : -1, .start_socket = -1, .listener = -1, .what = "clone" };
	if (layers_prepare(&p) < 0 || run_phase(&p, PHASE_BEFORE) < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return fail(&p, problem);
	const struct birth birth = { .p = &p, .stdio = stdio, .control = pair[1], .other = pair[0] };
	tell(plan->told, "nsexec[%d]: => nsexec container setup", (int)getpid());
	take_spare_network(&p);
	p.pid = clone_child(&p, child, &birth);
	close(pair[1]);
	if (p.pid < 0 || run_phase(&p, PHASE_AFTER) < 0 || (plan->is_staged && replace_pid(&p, pair[0], problem) < 0) ||
	    run_phase(&p, PHASE_NETWORK) < 0) {
		pid_t failed = fail(&p, problem);
		int error = errno;
		close(pair[0]);
		errno = error;
		return failed;
	}
	if (plan->has_after || plan->is_staged)
		sandbox_go(pair[0], p.pid);
	parent_close(&p);
	*control = pair[0];
	return p.pid;
}

/*
 * From the parent to the place where a plan is carried out.
 *
 * Simple: clone3 with the plan's namespaces; what is joined is entered afterwards. Staged, where a user, pid, time or
 * mount namespace is entered: a process in between enters and unshares, and the child is born from there with the
 * launcher as its parent (CLONE_PARENT), since pid and time namespaces take effect at birth only.
 *
 * A simple child whose plan lets the launcher stand still (plan->may_borrow) is no copy of it: it lives in the same
 * memory, on a stack of its own, until it executes its program or dies, as a child of vfork(2) does. Copying page
 * tables, and then every page that one of both writes to, took a third of the time of a start.
 */
#include "sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static const uint32_t NAMESPACES = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP |
				   CLONE_NEWUSER | CLONE_NEWTIME;

static const struct {
	uint32_t type;
	const char *path;
} OURS[] = {
	{ CLONE_NEWNET, "/proc/self/ns/net" },
	{ CLONE_NEWIPC, "/proc/self/ns/ipc" },
	{ CLONE_NEWUTS, "/proc/self/ns/uts" },
	{ CLONE_NEWCGROUP, "/proc/self/ns/cgroup" },
};
enum { KINDS = sizeof OURS / sizeof *OURS };

/*
 * Whoever is born into a user namespace may not enter what belongs to the host's: the parent goes there for the moment
 * of the clone, and the child finds itself there. Our own namespaces are in `back`, by kind; -1: not left.
 */
static int go_ahead(struct parent *p, int back[KINDS])
{
	int kept = 0, failed = 0;
	for (int k = 0; k < KINDS; k++)
		back[k] = -1;
	for (int i = 0; i < p->joins; i++) {
		int k = 0;
		while (k < KINDS && OURS[k].type != p->join[i].type)
			k++;
		if (failed || k == KINDS || !(p->plan->clone_flags & CLONE_NEWUSER)) {
			p->join[kept++] = p->join[i];
			continue;
		}
		p->op = p->join[i].op;
		p->what = "entering a namespace";
		if (back[k] < 0)
			back[k] = open(OURS[k].path, O_RDONLY | O_CLOEXEC);
		failed = back[k] < 0 || setns(p->join[i].fd, (int)p->join[i].type) < 0;
		int error = errno;
		close(p->join[i].fd);
		errno = error;
	}
	p->joins = kept;
	return failed ? -1 : 0;
}

/* We cannot go on in a namespace that is not ours. */
static void come_back(const int back[KINDS])
{
	int error = errno;
	for (int k = 0; k < KINDS; k++)
		if (back[k] >= 0) {
			if (setns(back[k], (int)OURS[k].type) < 0)
				abort();
			close(back[k]);
		}
	errno = error;
}

#ifdef __x86_64__
enum { STACK_SIZE = 1 << 20, STACK_GUARD = 1 << 16 };

/* The stack of children that borrow our memory: there is one at a time. Below it lies what cannot be touched. */
static char *borrowed_stack(void)
{
	static char *stack;
	if (stack)
		return stack;
	char *pages = mmap(NULL, STACK_GUARD + STACK_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (pages == MAP_FAILED || mprotect(pages + STACK_GUARD, STACK_SIZE, PROT_READ | PROT_WRITE) < 0)
		return NULL;
	return stack = pages + STACK_GUARD;
}

/*
 * why: clone3 has no wrapper in glibc, and clone(2) knows no cgroup. The child has nothing to return to: it comes to
 * life on an empty stack and calls `child`; all that the parent needs is in registers, which are its own.
 */
static pid_t clone_borrowing(struct clone_args *args, void (*child)(const struct birth *), const struct birth *birth)
{
	long result;
	char *stack = borrowed_stack();
	if (!stack)
		return -1;
	args->flags |= CLONE_VM | CLONE_VFORK;
	args->stack = (uint64_t)(uintptr_t)stack;
	args->stack_size = STACK_SIZE;
	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "mov %[birth], %%rdi\n\t"
			 "call *%[child]\n\t"
			 "hlt\n"
			 "1:"
			 : "=a"(result)
			 : "0"((long)SYS_clone3), "D"(args), "S"(sizeof *args), [child] "r"(child), [birth] "r"(birth)
			 : "rcx", "r11", "cc", "memory");
	if (result >= 0)
		return (pid_t)result;
	errno = (int)-result;
	return -1;
}
#endif

static pid_t clone_copying(struct clone_args *args, void (*child)(const struct birth *), const struct birth *birth)
{
	pid_t pid = (pid_t)syscall(SYS_clone3, args, sizeof *args);
	if (pid == 0)
		child(birth);
	return pid;
}

static pid_t clone_here(struct parent *p, void (*child)(const struct birth *), const struct birth *birth)
{
	uint32_t flags = p->plan->clone_flags & NAMESPACES;
	if (p->plan->is_staged)
		flags &= CLONE_NEWUSER;
	if (p->template >= 0)
		flags &= ~(uint32_t)CLONE_NEWNS;
	if (p->has_network)
		flags &= ~(uint32_t)CLONE_NEWNET;
	struct clone_args args = { .flags = flags, .exit_signal = SIGCHLD };
	if (p->cgroup >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)p->cgroup;
	}
	p->op = 0;
	p->what = "clone";
#ifdef __x86_64__
	pid_t pid = p->plan->may_borrow ? clone_borrowing(&args, child, birth) : clone_copying(&args, child, birth);
#else
	pid_t pid = clone_copying(&args, child, birth);
#endif
	/* What a cgroup says that takes nobody: threaded, with controllers for those beneath it, not ours. */
	if (pid < 0 && p->cgroup >= 0 && (errno == EOPNOTSUPP || errno == EBUSY || errno == EACCES)) {
		p->op = p->born;
		p->what = "entering it";
	}
	return pid;
}

pid_t clone_child(struct parent *p, void (*child)(const struct birth *), const struct birth *birth)
{
	int back[KINDS];
	pid_t pid = go_ahead(p, back) < 0 ? -1 : clone_here(p, child, birth);
	come_back(back);
	return pid;
}

int wait_for_parent(struct sandbox *s)
{
	uint32_t pid;
	ssize_t n;
	while ((n = recv(s->control, &pid, sizeof pid, 0)) < 0 && errno == EINTR)
		;
	if (n == (ssize_t)sizeof pid) {
		s->pid = (pid_t)pid;
		return 0;
	}
	s->what = "the launcher went away";
	errno = EPIPE;
	return -1;
}

/* Root of the user namespace that we are in, where it has one. */
static void become_root(void)
{
	if (setresgid(0, 0, 0) == 0)
		setgroups(0, NULL);
	if (setresuid(0, 0, 0) == 0)
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

static int join(struct sandbox *s, int i)
{
	const struct parent *p = s->parent;
	s->op = p->join[i].op;
	s->what = "entering a namespace";
	if (setns(p->join[i].fd, (int)p->join[i].type) < 0)
		return -1;
	if (p->join[i].type & CLONE_NEWUSER)
		become_root();
	return 0;
}

/*
 * Namespaces may belong to the host's user namespace or to the one that is entered as well: whatever can be entered
 * before the user namespace is, the others after it.
 */
static int join_all(struct sandbox *s)
{
	const struct parent *p = s->parent;
	int done[MAX_JOINS] = { 0 };
	for (int i = 0; i < p->joins; i++)
		if (!(p->join[i].type & CLONE_NEWUSER))
			done[i] = join(s, i) == 0;
	for (int i = 0; i < p->joins; i++)
		if (p->join[i].type & CLONE_NEWUSER && join(s, i) < 0)
			return -1;
	for (int i = 0; i < p->joins; i++)
		if (!done[i] && !(p->join[i].type & CLONE_NEWUSER) && join(s, i) < 0)
			return -1;
	return 0;
}

static int set_time_offsets(struct sandbox *s)
{
	const char *text = s->parent->time_offsets;
	if (!text)
		return 0;
	s->what = "timens_offsets";
	/* why: files of /proc/self belong to the host's root where it cannot be dumped; in a new user namespace we are alone yet. */
	int is_alone = (s->plan->clone_flags & CLONE_NEWUSER) != 0;
	if (is_alone)
		prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	int fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
	if (is_alone)
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (fd < 0)
		return -1;
	ssize_t n = write(fd, text, strlen(text));
	int error = errno;
	close(fd);
	errno = error;
	return n == (ssize_t)strlen(text) ? 0 : -1;
}

/* In the process in between: returns only in the child. */
static int stage(struct sandbox *s)
{
	const uint32_t flags = s->plan->clone_flags & NAMESPACES & ~(uint32_t)CLONE_NEWUSER;
	if (wait_for_parent(s) < 0)
		return -1;
	if (s->plan->clone_flags & CLONE_NEWUSER)
		become_root();
	if (join_all(s) < 0)
		return -1;
	s->op = 0;
	s->what = "unshare";
	if (unshare((int)flags) < 0 || set_time_offsets(s) < 0)
		return -1;
	s->what = "clone";
	struct clone_args args = { .flags = CLONE_PARENT };
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
	if (pid < 0)
		return -1;
	if (pid == 0)
		return 0;
	struct message message = { .kind = MESSAGE_PID, .error = (uint32_t)pid };
	send(s->control, &message, sizeof message, MSG_NOSIGNAL);
	_exit(0);
}

int enter_namespaces(struct sandbox *s)
{
	const struct plan *plan = s->plan;
	if (plan->start_flags & START_SURVIVE)
		prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (plan->is_staged)
		return stage(s) < 0 ? -1 : wait_for_parent(s);
	if (plan->has_after && wait_for_parent(s) < 0)
		return -1;
	if (plan->clone_flags & CLONE_NEWUSER)
		become_root();
	return join_all(s);
}

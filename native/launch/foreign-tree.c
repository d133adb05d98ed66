/*
 * A mount that another container has, as one more tree for OP_ATTACH: its /dev/shm, which belongs to its ipc namespace, and
 * its /dev/mqueue, which a user namespace cannot mount for one that is not its own.
 *
 * The kernel clones a mount only for who is in its mount namespace, so a process goes there; it shares our table of
 * descriptors, and leaves the clone in it. That container's files are hostile: the way is walked in its root without
 * symlinks, and only a tmpfs or message queues are taken.
 */
#include "../openat2.h"
#include "sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define MQUEUE_MAGIC 0x19800202

struct memory {
	int root;
	const char *path;
};

/* A mount of what is at `path` in `root`, which must be one of these; -1 with errno. */
static int clone_memory(const void *wanted)
{
	const struct memory *memory = wanted;
	struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	struct statfs fs;
	int source = openat2_beneath(memory->root, memory->path, &how);
	if (source < 0)
		return -1;
	int tree = -1;
	if (fstatfs(source, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == MQUEUE_MAGIC))
		tree = (int)syscall(SYS_open_tree, source, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	else
		errno = EINVAL;
	int error = errno;
	close(source);
	errno = error;
	return tree;
}

/* The process that goes there: its exit status is errno, 0 where `place` is what was opened now. */
static int go(int process, int (*open_there)(const void *), const void *argument, int place)
{
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	int tree = setns(process, CLONE_NEWNS) < 0 ? -1 : open_there(argument);
	if (tree < 0 || dup3(tree, place, O_CLOEXEC) < 0)
		return errno;
	close(tree);
	return 0;
}

int open_elsewhere(int process, int (*open_there)(const void *), const void *argument)
{
	int place = open("/dev/null", O_RDONLY | O_CLOEXEC), status = 0;
	if (place < 0)
		return -1;
	struct clone_args args = { .flags = CLONE_FILES, .exit_signal = SIGCHLD };
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
	if (pid == 0)
		_exit(go(process, open_there, argument, place));
	int error = errno;
	if (pid > 0) {
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		error = WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD;
	}
	if (error == 0)
		return place;
	close(place);
	errno = error;
	return -1;
}

int open_foreign_tree(struct parent *p, struct cursor c)
{
	uint32_t pid = take_u32(&c);
	take_u32(&c);
	uint64_t started = take_u64(&c);
	const char *path = take_string(&c);
	char name[64];
	p->what = path;
	if (p->trees == MAX_TREES) {
		errno = E2BIG;
		return -1;
	}
	int process = (int)syscall(SYS_pidfd_open, pid, 0);
	if (process < 0)
		return -1;
	snprintf(name, sizeof name, "/proc/%u/root", pid);
	int root = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	/* Looked at last: both descriptors are of the process that began then. */
	int tree = -1;
	if (root >= 0 && start_time(pid) == started)
		tree = open_elsewhere(process, clone_memory, &(struct memory){ root, path });
	else if (root >= 0)
		errno = ESRCH;
	int error = errno;
	close(process);
	if (root >= 0)
		close(root);
	errno = error;
	if (tree < 0)
		return -1;
	p->tree[p->trees++] = tree;
	return 0;
}

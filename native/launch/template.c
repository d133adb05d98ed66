/*
 * A mount namespace with nothing in it but an empty directory that nobody can write to: what the mount namespaces of a
 * server's containers are copies of.
 *
 * A copy of the host's would be a copy of every mount of the host, and taking them off again costs a grace period of
 * the kernel's RCU before the program can start. So a root is put together out of sight, by whoever still sees the
 * host, and carried into a copy of the template. Mounts can be attached to what is itself attached nowhere since 6.15;
 * where they cannot, there is no template, and a namespace is a copy of the host's.
 */
#include "sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int template = -1;

int mount_template(void)
{
	return template;
}

static int new_tmpfs(void)
{
	int fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
	if (fs < 0 || syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "mode", "0555", 0) < 0 ||
	    syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -1;
	return (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
}

/* Whether this kernel attaches mounts to mounts that are attached nowhere, and copies mounts from there. */
static int can_build_apart(void)
{
	int below = new_tmpfs(), above = new_tmpfs();
	if (below < 0 || above < 0 || mkdirat(below, "at", 0700) < 0)
		return 0;
	if (syscall(SYS_move_mount, above, "", below, "at", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return 0;
	return syscall(SYS_open_tree, below, "at", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC) >= 0;
}

static int enter_empty_namespace(void)
{
	struct mount_attr readonly = { .attr_set = MOUNT_ATTR_RDONLY };
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -1;
	int root = new_tmpfs();
	if (root < 0 || syscall(SYS_mount_setattr, root, "", AT_EMPTY_PATH, &readonly, sizeof readonly) < 0 ||
	    syscall(SYS_move_mount, root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0 || fchdir(root) < 0 ||
	    syscall(SYS_pivot_root, ".", ".") < 0)
		return -1;
	return umount2(".", MNT_DETACH);
}

/* In a process of its own: says on `ready` that it is there, and stays until somebody has looked at it. */
static void hold_namespace(int ready, int seen)
{
	char byte = 0;
	if (can_build_apart() && enter_empty_namespace() == 0 && write(ready, &byte, 1) == 1)
		(void)!read(seen, &byte, 1);
	_exit(0);
}

static int open_namespace(pid_t pid)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/ns/mnt", pid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

void make_mount_template(void)
{
	static int is_tried;
	int ready[2], seen[2];
	char byte;
	if (is_tried)
		return;
	is_tried = 1;
	if (pipe2(ready, O_CLOEXEC) < 0)
		return;
	if (pipe2(seen, O_CLOEXEC) < 0) {
		close(ready[0]);
		close(ready[1]);
		return;
	}
	pid_t pid = fork();
	if (pid == 0) {
		close(ready[0]);
		close(seen[1]);
		hold_namespace(ready[1], seen[0]);
	}
	close(ready[1]);
	close(seen[0]);
	if (pid > 0 && read(ready[0], &byte, 1) == 1)
		template = open_namespace(pid);
	close(ready[0]);
	close(seen[1]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

int enter_copy_of_template(int namespace)
{
	return setns(namespace, CLONE_NEWNS) < 0 ? -1 : unshare(CLONE_NEWNS);
}

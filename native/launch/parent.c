/* Operations of the parent's: before the clone what the child is born into, after it what only an outsider may do. */
#include "../served.h"
#include "cgroup.h"
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
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

static int too_many(void)
{
	errno = E2BIG;
	return -1;
}

static int add_join(struct parent *p, int fd, uint32_t type)
{
	p->join[p->joins].type = type;
	p->join[p->joins].op = p->op;
	p->join[p->joins++].fd = fd;
	return 0;
}

static int open_join(struct parent *p, struct cursor c)
{
	uint32_t type = take_u32(&c);
	p->what = take_string(&c);
	if (p->joins == MAX_JOINS)
		return too_many();
	int fd = open(p->what, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	return fd < 0 ? -1 : add_join(p, fd, type);
}

uint64_t start_time(uint32_t pid)
{
	char path[32], text[1024];
	snprintf(path, sizeof path, "/proc/%u/stat", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t n = read(fd, text, sizeof text - 1);
	close(fd);
	text[n > 0 ? n : 0] = 0;
	const char *at = strrchr(text, ')');
	unsigned long long time = 0;
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (at)
		sscanf(at, "%llu", &time);
	return time;
}

/* A pid may be another process's by now: the descriptor is taken first, then its start time is looked at. */
static int open_enter(struct parent *p, struct cursor c)
{
	uint32_t pid = take_u32(&c), type = take_u32(&c);
	uint64_t started = take_u64(&c);
	if (p->joins == MAX_JOINS)
		return too_many();
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		return -1;
	if (started != 0 && start_time(pid) != started) {
		close(fd);
		errno = ESRCH;
		return -1;
	}
	return add_join(p, fd, type);
}

static int write_text(struct parent *p, const char *path, const char *text)
{
	p->what = path;
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -1;
	ssize_t n = write(fd, text, strlen(text));
	int error = errno;
	close(fd);
	errno = error;
	return n == (ssize_t)strlen(text) ? 0 : -1;
}

static int write_process_file(struct parent *p, pid_t pid, const char *name, const char *text)
{
	static char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	return write_text(p, path, text);
}

static int write_id_maps(struct parent *p, pid_t pid, struct cursor c)
{
	const char *uids = take_string(&c), *gids = take_string(&c);
	tell(p->plan->told, "nsexec[%d]: update /proc/%d/uid_map to '%s', gid_map to '%s'", (int)getpid(), (int)pid, uids, gids);
	return write_process_file(p, pid, "uid_map", uids) < 0 ? -1 : write_process_file(p, pid, "gid_map", gids);
}

/* A user namespace to map the ids of a mount: one that nobody lives in, or one that is there. */
static int open_idmap(struct parent *p, struct cursor c)
{
	struct cursor peek = c;
	if (p->idmaps == MAX_IDMAPS)
		return too_many();
	if (!*take_string(&peek)) {
		p->what = take_string(&peek);
		int there = open(p->what, O_RDONLY | O_CLOEXEC | O_NOCTTY);
		return there < 0 ? -1 : (p->idmap[p->idmaps++] = there, 0);
	}
	struct clone_args args = { .flags = CLONE_NEWUSER, .exit_signal = SIGCHLD };
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
	if (pid == 0)
		for (;;)
			pause();
	if (pid < 0)
		return -1;
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
	int fd = write_id_maps(p, pid, c) < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	int error = errno;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	errno = error;
	if (fd < 0)
		return -1;
	p->idmap[p->idmaps++] = fd;
	return 0;
}

static int open_tree_outside(struct parent *p, struct cursor c)
{
	uint32_t flags = take_u32(&c), idmap = take_u32(&c);
	const unsigned recursive = flags & FLAG_RECURSIVE ? AT_RECURSIVE : 0;
	const unsigned nofollow = flags & FLAG_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0;
	p->what = take_string(&c);
	if (p->trees == MAX_TREES || idmap > (uint32_t)p->idmaps)
		return too_many();
	int fd = (int)syscall(SYS_open_tree, AT_FDCWD, p->what, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive | nofollow);
	if (fd < 0)
		return -1;
	p->tree[p->trees++] = fd;
	if (idmap == 0)
		return 0;
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)p->idmap[idmap - 1] };
	const unsigned deep = flags & FLAG_IDMAP_RECURSIVE ? AT_RECURSIVE : 0;
	return (int)syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | deep, &attr, sizeof attr);
}

/* A device node of its own file system, with the owner that it shall have; -1 where the kernel has no such trees. */
static int make_node(uint32_t mode, dev_t device, uint32_t uid, uint32_t gid)
{
	int fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
	int made = fs < 0 ? -1 : (int)syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
	int mount = made < 0 ? -1 : (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOEXEC);
	int tree = -1;
	if (mount >= 0 && mknodat(mount, "node", mode, device) == 0 && fchownat(mount, "node", uid, gid, 0) == 0 &&
	    fchmodat(mount, "node", mode & 07777, 0) == 0)
		tree = (int)syscall(SYS_open_tree, mount, "node", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (mount >= 0)
		close(mount);
	if (fs >= 0)
		close(fs);
	return tree;
}

/* why: in a user namespace nobody can make devices, so they are made outside (kernel >= 6.15) or borrowed. */
static int open_node(struct parent *p, struct cursor c)
{
	uint32_t mode = take_u32(&c), major_number = take_u32(&c), minor_number = take_u32(&c);
	uint32_t uid = take_u32(&c), gid = take_u32(&c);
	p->what = take_string(&c);
	if (p->trees == MAX_TREES)
		return too_many();
	int fd = make_node(mode, makedev(major_number, minor_number), uid, gid);
	if (fd < 0)
		fd = (int)syscall(SYS_open_tree, AT_FDCWD, p->what, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (fd < 0)
		return -1;
	p->tree[p->trees++] = fd;
	return 0;
}

static int open_served(struct parent *p, struct cursor c)
{
	const char *program = p->what = take_string(&c);
	if (p->trees == MAX_TREES)
		return too_many();
	int fd = served_mount(program, take_string(&c), 0);
	if (fd < 0)
		return -1;
	p->tree[p->trees++] = fd;
	return 0;
}

static int open_listener(struct parent *p, struct cursor c)
{
	p->what = take_string(&c);
	p->listener_state = c;
	p->listener = connect_path(p->what, SOCK_STREAM);
	return p->listener < 0 ? -1 : 0;
}

/* Whoever listens there can signal and await the process without its number, which may be another's one day. */
static int send_pidfd(struct parent *p, struct cursor c)
{
	static const char name[] = "pidfd";
	p->what = take_string(&c);
	int socket = connect_path(p->what, SOCK_STREAM);
	int pidfd = socket < 0 ? -1 : (int)syscall(SYS_pidfd_open, p->pid, 0);
	int done = pidfd < 0 ? -1 : send_descriptor(socket, name, sizeof name - 1, pidfd);
	int error = errno;
	if (pidfd >= 0)
		close(pidfd);
	if (socket >= 0)
		close(socket);
	errno = error;
	return done;
}

/* Devices are others' as well (the null device, a terminal), and what is only read stays whose it is. */
static int is_for_program(int fd, int files)
{
	struct stat st;
	struct statfs fs;
	if (fstat(fd, &st) < 0)
		return 0;
	if (!files)
		return S_ISFIFO(st.st_mode) && fstatfs(fd, &fs) == 0 && fs.f_type == PIPEFS_MAGIC;
	if (S_ISREG(st.st_mode))
		return (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
	return S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode);
}

/* why: a program could not open /dev/stderr and its like again while they are somebody else's. What cannot be given stays. */
static int give_streams(const struct parent *p, struct cursor c)
{
	uid_t uid = take_u32(&c);
	gid_t gid = take_u32(&c);
	int files = take_u32(&c) != 0;
	for (int i = 0; i < 3; i++) {
		int fd = p->stdio[i] >= 0 ? p->stdio[i] : i;
		if (is_for_program(fd, files) && fchown(fd, uid, gid) < 0)
			continue;
	}
	return 0;
}

int parent_execute(struct parent *p, const struct op *op)
{
	struct cursor c = cursor_of(op);
	char text[16];
	switch (op->code) {
	case OP_JOIN:
		return open_join(p, c);
	case OP_ENTER:
		return open_enter(p, c);
	case OP_TREE:
		return open_tree_outside(p, c);
	case OP_NODE:
		return open_node(p, c);
	case OP_FOREIGN_TREE:
		return open_foreign_tree(p, c);
	case OP_IDMAP:
		return open_idmap(p, c);
	case OP_ROOT_TREE:
		return open_root_tree(p, c);
	case OP_SERVED_TREE:
		return open_served(p, c);
	case OP_TIME_OFFSETS:
		p->time_offsets = take_string(&c);
		return 0;
	case OP_START_SOCKET:
		p->what = take_string(&c);
		p->start_socket = listen_path(p->what);
		return p->start_socket < 0 ? -1 : 0;
	case OP_LISTENER:
		return open_listener(p, c);
	case OP_HOOK_STREAMS:
		return open_hook_streams(c, &p->what);
	case OP_STREAMS_OWNER:
		return give_streams(p, c);
	case OP_NOTIFY:
		return open_notify(p, c);
	case OP_NET_DEVICE:
		return hand_over_device(p, c);
	case OP_PIDFD:
		return send_pidfd(p, c);
	case OP_ID_MAPS:
		return write_id_maps(p, p->pid, c);
	case OP_PARENT_OOM:
		snprintf(text, sizeof text, "%d", (int)take_u32(&c));
		return write_process_file(p, p->pid, "oom_score_adj", text);
	case OP_CGROUP_ENTER:
		snprintf(text, sizeof text, "%d", p->pid);
		return write_text(p, take_string(&c), text);
	case OP_CGROUP_MAKE:
	case OP_CGROUP_ENABLE:
	case OP_CGROUP_WRITE:
	case OP_CGROUP_TASKS:
	case OP_CGROUP_BORN:
	case OP_CGROUP_DEVICES:
	case OP_CGROUP_REALTIME:
		return cgroup_execute(p, op);
	}
	errno = EINVAL;
	return -1;
}

void parent_close(struct parent *p)
{
	for (int i = 0; i < p->joins; i++)
		close(p->join[i].fd);
	for (int i = 0; i < p->hierarchies; i++)
		close(p->tasks[i]);
	for (int i = 0; i < p->trees; i++)
		close(p->tree[i]);
	for (int i = 0; i < p->idmaps; i++)
		close(p->idmap[i]);
	const int single[] = { p->cgroup, p->start_socket, p->listener };
	for (unsigned i = 0; i < sizeof single / sizeof *single; i++)
		if (single[i] >= 0)
			close(single[i]);
}

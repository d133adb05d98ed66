/* Network namespaces: made, pinned where ip-netns(8) looks for them, entered. */
#include "net.h"
#include "netlink.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/netlink.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef NSFS_MAGIC
#define NSFS_MAGIC 0x6e736673
#endif

static int open_self(void)
{
	return open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
}

int netns_enter(const struct net *n, enum net_side side)
{
	if (n->spaces[side] >= 0)
		return setns(n->spaces[side], CLONE_NEWNET);
	errno = ENONET;
	return -1;
}

static void use(struct net *n, int fd)
{
	for (int kind = 0; kind < NET_SOCKETS; kind++) {
		if (n->sockets[NET_INSIDE][kind] >= 0)
			close(n->sockets[NET_INSIDE][kind]);
		n->sockets[NET_INSIDE][kind] = -1;
	}
	if (n->spaces[NET_INSIDE] >= 0)
		close(n->spaces[NET_INSIDE]);
	n->spaces[NET_INSIDE] = fd;
}

/*
 * The directory of pinned namespaces, shared as ip-netns(8) makes it: otherwise its next `ip netns add` would put
 * another mount above ours, and what we unpin would stay pinned below.
 */
static int share_directory(const char *path)
{
	char directory[256];
	const char *slash = strrchr(path, '/');
	if (!slash || (size_t)(slash - path) >= sizeof directory) {
		errno = EINVAL;
		return -1;
	}
	memcpy(directory, path, (size_t)(slash - path));
	directory[slash - path] = 0;
	if (mkdir(directory, 0755) < 0 && errno != EEXIST)
		return -1;
	if (mount("", directory, "none", MS_SHARED | MS_REC, NULL) == 0)
		return 0;
	if (errno != EINVAL)
		return -1;
	if (mount(directory, directory, "none", MS_BIND | MS_REC, NULL) < 0)
		return -1;
	return mount("", directory, "none", MS_SHARED | MS_REC, NULL);
}

static int pin(const char *path)
{
	if (share_directory(path) < 0)
		return -1;
	int file = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0444);
	if (file < 0)
		return -1;
	close(file);
	if (mount("/proc/self/ns/net", path, "none", MS_BIND, NULL) == 0)
		return 0;
	int error = errno;
	unlink(path);
	errno = error;
	return -1;
}

int netns_create(struct net *n, const char *path)
{
	if (unshare(CLONE_NEWNET) < 0)
		return -1;
	int fd = open_self();
	int failed = fd < 0 || (*path && pin(path) < 0);
	int error = errno;
	if (netns_enter(n, NET_HOST) < 0)
		return -1;
	if (failed) {
		if (fd >= 0)
			close(fd);
		errno = error;
		return -1;
	}
	use(n, fd);
	return 0;
}

int netns_open(struct net *n, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct statfs fs;
	if (fd < 0)
		return -1;
	if (fstatfs(fd, &fs) < 0 || (fs.f_type != NSFS_MAGIC && fs.f_type != PROC_SUPER_MAGIC)) {
		close(fd);
		errno = ENONET;
		return -1;
	}
	use(n, fd);
	return 0;
}

int netns_remove(struct net *n, const char *path)
{
	(void)n;
	/* EINVAL: a file without a namespace, from somebody who was killed between making and mounting. */
	if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL)
		return -1;
	return unlink(path);
}

int net_socket(struct net *n, uint32_t side, enum net_socket kind)
{
	if (side >= NET_SIDES) {
		errno = EINVAL;
		return -1;
	}
	int *fd = &n->sockets[side][kind];
	if (*fd >= 0)
		return *fd;
	if (netns_enter(n, side) < 0)
		return -1;
	*fd = netlink_open(kind == NET_SOCKET_ROUTE ? NETLINK_ROUTE : NETLINK_NETFILTER);
	int error = errno;
	if (netns_enter(n, NET_HOST) < 0)
		return -1;
	errno = error;
	return *fd;
}

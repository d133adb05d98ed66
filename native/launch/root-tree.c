/* The root of a container with other ids than its files have: an overlay whose directories are mapped, made outside. */
#include "layers.h"
#include "sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <linux/securebits.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* why: a mount that is attached nowhere ends with its descriptor, and overlayfs wants them until it is made. */
struct held {
	int count;
	int fd[MAX_TREES];
};

static void release(struct held *held)
{
	int error = errno;
	while (held->count > 0)
		close(held->fd[--held->count]);
	errno = error;
}

static int map_ids(int mount, int namespace)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)namespace };
	return (int)syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH, &attr, sizeof attr);
}

/* A mount of one directory or image, its ids mapped. */
static int mapped_lower(struct parent *p, const struct lower *lower, int namespace, struct held *held)
{
	p->what = lower->directory ? lower->directory : lower->image;
	if (held->count == MAX_TREES) {
		errno = E2BIG;
		return -1;
	}
	int fd = lower_clone(lower);
	if (fd < 0)
		return -1;
	held->fd[held->count++] = fd;
	return map_ids(fd, namespace) < 0 ? -1 : fd;
}

static int mapped(struct parent *p, const char *path, int namespace, struct held *held)
{
	return mapped_lower(p, &(struct lower){ .directory = path }, namespace, held);
}

static int add(int fs, const char *option, int directory)
{
	return directory < 0 ? -1 : (int)syscall(SYS_fsconfig, fs, FSCONFIG_SET_FD, option, NULL, directory);
}

static int add_below(int fs, const char *option, int mount, const char *name)
{
	int fd = openat(mount, name, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	int done = add(fs, option, fd);
	int error = errno;
	if (fd >= 0)
		close(fd);
	errno = error;
	return done;
}

/* why: overlayfs wants the upper and the work directory on one mount, so both are opened in one that is mapped. */
static int add_writable(struct parent *p, int fs, const char *upper, const char *work, int namespace, struct held *held)
{
	const char *name = strrchr(upper, '/'), *other = strrchr(work, '/');
	char holder[4096];
	size_t length = name ? (size_t)(name - upper) : 0;
	if (length == 0 || length >= sizeof holder || !other || (size_t)(other - work) != length || memcmp(upper, work, length)) {
		errno = EINVAL;
		return -1;
	}
	memcpy(holder, upper, length);
	holder[length] = 0;
	int mount = mapped(p, holder, namespace, held);
	p->what = upper;
	if (mount < 0 || add_below(fs, "upperdir", mount, name + 1) < 0)
		return -1;
	return add_below(fs, "workdir", mount, other + 1);
}

static int overlay(struct parent *p, struct cursor *c, uint32_t flags, uint32_t lowers, int namespace,
		   struct held *held)
{
	static const char *const off[] = { "metacopy", "redirect_dir", "index", "xino" };
	const char *upper = take_string(c), *work = take_string(c);
	int fs = (int)syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC);
	if (fs < 0)
		return -1;
	int failed = 0;
	for (unsigned i = 0; i < sizeof off / sizeof *off && !failed; i++)
		failed = syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, off[i], "off", 0) < 0;
	if (!failed && flags & FLAG_VOLATILE)
		failed = syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, "volatile", NULL, 0) < 0;
	for (uint32_t i = 0; i < lowers && !failed; i++) {
		struct lower lower = take_lower(c);
		failed = add(fs, "lowerdir+", mapped_lower(p, &lower, namespace, held)) < 0;
	}
	if (!failed && *upper)
		failed = add_writable(p, fs, upper, work, namespace, held) < 0;
	p->what = "overlay";
	if (!failed)
		failed = syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0;
	int mount = failed ? -1 : (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
	int error = errno;
	close(fs);
	errno = error;
	return mount;
}

/*
 * Overlayfs works in its upper directory as whoever mounted it, and our own ids have no place in a mapped one: so it
 * is mounted by the ids that root inside has outside, with the capabilities that we have.
 */
static int overlay_as(struct parent *p, struct cursor *c, uint32_t flags, uint32_t lowers, int namespace, struct held *held,
		      uint32_t uid, uint32_t gid)
{
	const long bits = prctl(PR_GET_SECUREBITS, 0, 0, 0, 0);
	if (bits < 0 || prctl(PR_SET_SECUREBITS, (unsigned long)bits | SECBIT_NO_SETUID_FIXUP, 0, 0, 0) < 0)
		return -1;
	const int old_uid = setfsuid(uid), old_gid = setfsgid(gid);
	int mount = overlay(p, c, flags, lowers, namespace, held);
	int error = errno;
	setfsuid((uid_t)old_uid);
	setfsgid((gid_t)old_gid);
	prctl(PR_SET_SECUREBITS, (unsigned long)bits, 0, 0, 0);
	errno = error;
	return mount;
}

int open_root_tree(struct parent *p, struct cursor c)
{
	uint32_t idmap = take_u32(&c), uid = take_u32(&c), gid = take_u32(&c), kind = take_u32(&c), flags = take_u32(&c), lowers = take_u32(&c);
	take_string(&c);
	if (p->trees == MAX_TREES || idmap == 0 || idmap > (uint32_t)p->idmaps) {
		errno = E2BIG;
		return -1;
	}
	struct held held = { .count = 0 };
	int namespace = p->idmap[idmap - 1];
	int fd;
	if (kind == MOUNT_KIND_OVERLAY)
		fd = overlay_as(p, &c, flags, lowers, namespace, &held, uid, gid);
	else if ((fd = mapped(p, take_string(&c), namespace, &held)) >= 0)
		held.count--;
	release(&held);
	if (fd < 0)
		return -1;
	p->tree[p->trees++] = fd;
	return 0;
}

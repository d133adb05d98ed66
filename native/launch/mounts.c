/*
 * Operations on mounts. Every target is opened inside the root (openat2 RESOLVE_IN_ROOT) and mounted by
 * descriptor, never by path after a check; every source is a descriptor of ours.
 */
#include "layers.h"
#include "sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef FSCONFIG_SET_FD
#define FSCONFIG_SET_FD 5
#endif
#ifndef MOVE_MOUNT_T_EMPTY_PATH
#define MOVE_MOUNT_T_EMPTY_PATH 0x40
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
/* include/linux/proc_ns.h, PROC_ROOT_INO */
#define PROC_ROOT_INODE 1

static int move_onto(struct sandbox *s, int mount, int target)
{
	forget_parent(s);
	return (int)syscall(SYS_move_mount, mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

/*
 * Whether a mount may cover what `at` is. Inside a procfs only files that say how large the machine is may be
 * covered, and a procfs only by another one: whoever replaces /proc/self/attr or /proc/sys has programs that trust
 * them write elsewhere (CVE-2019-16884, CVE-2025-52881).
 */
static int may_cover(int at, int mount, const char *target)
{
	static const char *const free_to_cover[] = {
		"/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo", "/proc/stat", "/proc/swaps", "/proc/uptime", "/proc/loadavg",
		"/proc/slabinfo", "/proc/sys/kernel/ns_last_pid", "/proc/sys/crypto/fips_enabled",
	};
	struct statfs below, above;
	struct stat st;
	if (fstatfs(at, &below) < 0)
		return 0;
	if (below.f_type != PROC_SUPER_MAGIC)
		return 1;
	if (fstatfs(mount, &above) < 0 || fstat(at, &st) < 0)
		return 0;
	if ((st.st_ino == PROC_ROOT_INODE && above.f_type == PROC_SUPER_MAGIC))
		return 1;
	for (unsigned i = 0; i < sizeof free_to_cover / sizeof *free_to_cover; i++)
		if (!strcmp(target, free_to_cover[i]))
			return 1;
	errno = EPERM;
	return 0;
}

/* On a symlink itself, where the target is one. */
int attach_unfollowed(struct sandbox *s, int mount, const char *target)
{
	int at = open_in_root(s, target, O_PATH | O_NOFOLLOW);
	if (at < 0)
		return attach(s, mount, target);
	s->what = target;
	int done = may_cover(at, mount, target) ? move_onto(s, mount, at) : -1;
	int error = errno;
	close(at);
	errno = error;
	return done;
}

int attach(struct sandbox *s, int mount, const char *target)
{
	int at = open_in_root(s, target, O_PATH);
	if (at < 0)
		at = open_target(s, target, is_directory(mount));
	if (at < 0)
		return -1;
	s->what = target;
	int done = may_cover(at, mount, target) ? move_onto(s, mount, at) : -1;
	int error = errno;
	close_later(at);
	errno = error;
	return done;
}

static int set_attributes(int mount, uint64_t attributes, int recursive)
{
	struct mount_attr attr = { .attr_set = attributes };
	return (int)syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr, sizeof attr);
}

static int set_private(int mount, int recursive)
{
	struct mount_attr attr = { .propagation = MS_PRIVATE };
	return (int)syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr, sizeof attr);
}

static int configure(int fs, const char *key, const char *value)
{
	return (int)syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, key, value, 0);
}

/* why: a descriptor has no length limit (kernel >= 6.13), the string form (6.8) takes 255 bytes. */
static int configure_directory(struct sandbox *s, int fs, const char *key, const char *path)
{
	s->what = path;
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	int done = (int)syscall(SYS_fsconfig, fs, FSCONFIG_SET_FD, key, NULL, fd);
	if (done < 0 && (errno == EINVAL || errno == EBADF))
		done = configure(fs, key, path);
	int error = errno;
	close(fd);
	errno = error;
	return done;
}

static int create(int fs, unsigned attributes)
{
	if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -1;
	return (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes);
}

/* One lower directory alone is no overlay. */
static int single_lower(struct sandbox *s, struct cursor *c)
{
	struct lower lower = take_lower(c);
	s->what = lower.directory ? lower.directory : lower.image;
	return lower_clone(&lower);
}

/* `point`: where lower ones are attached for a moment, if they have to be. */
static int add_lowers(struct sandbox *s, struct cursor *c, int fs, uint32_t lowers, const char *point, int *attached)
{
	int failed = 0;
	for (uint32_t i = 0; i < lowers && !failed; i++) {
		struct lower lower = take_lower(c);
		s->what = lower.directory ? lower.directory : lower.image;
		failed = lower_add(fs, &lower, point, attached) < 0;
	}
	return failed;
}

static int overlay(struct sandbox *s, struct cursor *c, uint32_t flags, uint32_t lowers, const char *point)
{
	const char *upper = take_string(c), *work = take_string(c);
	if (lowers == 1 && !*upper)
		return single_lower(s, c);
	int attached = 0;
	int fs = (int)syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC);
	if (fs < 0)
		return -1;
	int failed = configure(fs, "metacopy", "off") || configure(fs, "redirect_dir", "off") || configure(fs, "index", "off") ||
		     configure(fs, "xino", "off");
	if (!failed && flags & FLAG_USERXATTR)
		failed = syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, "userxattr", NULL, 0) < 0;
	if (!failed && flags & FLAG_VOLATILE)
		failed = syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, "volatile", NULL, 0) < 0;
	if (!failed)
		failed = add_lowers(s, c, fs, lowers, point, &attached);
	if (!failed && *upper)
		failed = configure_directory(s, fs, "upperdir", upper) < 0 || configure_directory(s, fs, "workdir", work) < 0;
	int mount = failed ? -1 : create(fs, 0);
	int error = errno;
	close(fs);
	while (attached-- > 0)
		umount2(point, MNT_DETACH);
	errno = error;
	return mount;
}

int copy_mounts(struct sandbox *s, int at, const char *path, unsigned flags)
{
	s->what = path;
	int mount = (int)syscall(SYS_open_tree, at, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | flags);
	/* why: the host's mounts are still in sight, and what was copied from a shared one is its peer. */
	if (mount >= 0 && s->is_apart && change_propagation(mount, MS_PRIVATE) < 0)
		return -1;
	return mount;
}

static int bind_source(struct sandbox *s, int at, const char *path, int recursive)
{
	return copy_mounts(s, at, path, recursive ? AT_RECURSIVE : 0);
}

/* Keeps a mount, attached nowhere so far, until the namespace ends. */
static void hide(struct sandbox *s, int mount)
{
	if (s->hidden_count < MAX_HIDDEN)
		s->hidden[s->hidden_count++] = mount;
}

/*
 * why: opened outside it may be the peer of a mount there, and what is mounted below it would appear outside. Where the
 * root is the host's slave it becomes one as well.
 */
int own_tree(struct sandbox *s, uint32_t number, uint32_t propagation)
{
	const uint32_t roots = s->plan->propagation;
	if (number == 0 || number > (uint32_t)s->parent->trees) {
		errno = EINVAL;
		return -1;
	}
	int mount = s->parent->tree[number - 1];
	if (propagation || roots & MS_SHARED)
		return mount;
	return change_propagation(mount, roots & MS_SLAVE ? MS_SLAVE : MS_PRIVATE) < 0 ? -1 : mount;
}

/* The mount that the front of a payload describes; *point is where things may be attached out of sight. */
static int make_mount(struct sandbox *s, struct cursor *c, const char **point, uint32_t *flags)
{
	uint32_t kind = take_u32(c);
	*flags = take_u32(c);
	uint32_t lowers = take_u32(c);
	*point = take_string(c);
	if (kind == MOUNT_KIND_TREE)
		return own_tree(s, lowers, 0);
	if (kind == MOUNT_KIND_OVERLAY)
		return overlay(s, c, *flags, lowers, *point);
	return bind_source(s, AT_FDCWD, take_string(c), (*flags & FLAG_RECURSIVE) != 0);
}

/*
 * A tmpfs for generated files, attached below the root: it goes away with the old root at op_pivot.
 * why: above the root it would catch every lookup of "/..".
 */
static int open_files(struct sandbox *s, const char *point)
{
	int fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
	if (fs < 0)
		return -1;
	int mount = configure(fs, "mode", "0700") < 0 ? -1 : create(fs, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	close(fs);
	if (mount < 0)
		return -1;
	s->files = mount;
	if (!s->is_apart)
		return (int)syscall(SYS_move_mount, mount, "", AT_FDCWD, point, MOVE_MOUNT_F_EMPTY_PATH);
	hide(s, mount);
	return 0;
}

int op_root(struct sandbox *s, struct cursor c)
{
	const char *point;
	uint32_t flags;
	int mount = make_mount(s, &c, &point, &flags);
	if (mount < 0)
		return -1;
	s->what = point;
	const int is_shared = s->plan->start_flags & START_SHARED;
	if (s->plan->propagation && !is_shared && make_private(point) < 0)
		return -1;
	/* why: what comes from a shared mount is one itself, and pivot_root takes none. */
	if ((s->plan->propagation || is_shared) && set_private(mount, is_shared) < 0)
		return -1;
	if (!is_shared && open_files(s, point) < 0)
		return -1;
	if (!s->is_apart && syscall(SYS_move_mount, mount, "", AT_FDCWD, point, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return -1;
	s->root = s->base = mount;
	s->point = point;
	return 0;
}

int op_mount(struct sandbox *s, struct cursor c)
{
	uint32_t attributes = take_u32(&c), options = take_u32(&c);
	const char *type = take_string(&c), *target = take_string(&c);
	s->what = type;
	int fs = (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
	if (fs < 0)
		return -1;
	int failed = 0;
	for (uint32_t i = 0; i < options && !failed; i++) {
		const char *key = take_string(&c), *value = take_string(&c);
		s->what = key;
		failed = *value ? configure(fs, key, value) < 0 : syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, key, NULL, 0) < 0;
	}
	int mount = failed ? -1 : create(fs, attributes);
	int done = mount < 0 ? -1 : attach(s, mount, target);
	int error = errno;
	close_later(fs);
	close_later(mount);
	errno = error;
	return done;
}

int op_bind(struct sandbox *s, struct cursor c)
{
	uint32_t flags = take_u32(&c);
	const char *source = take_string(&c), *target = take_string(&c);
	int recursive = (flags & FLAG_RECURSIVE) != 0;
	int mount = bind_source(s, AT_FDCWD, source, recursive);
	if (mount < 0)
		return -1;
	if (flags & FLAG_READONLY && set_attributes(mount, MOUNT_ATTR_RDONLY, recursive) < 0)
		return -1;
	int done = attach(s, mount, target);
	int error = errno;
	close_later(mount);
	errno = error;
	return done;
}

int op_assembled(struct sandbox *s, struct cursor c)
{
	const char *point;
	uint32_t flags;
	int whole = make_mount(s, &c, &point, &flags);
	if (whole < 0)
		return -1;
	const char *inside = take_string(&c), *target = take_string(&c);
	/* why: before 6.15 a mount can be cloned only while it is attached, so it is attached for a moment. */
	if (!s->is_apart && syscall(SYS_move_mount, whole, "", AT_FDCWD, point, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return -1;
	int place = in_root(s, whole, inside, O_PATH);
	int part = place < 0 ? -1 : bind_source(s, place, "", 0);
	int error = errno;
	if (s->is_apart)
		hide(s, whole);
	else {
		umount2(point, MNT_DETACH);
		close(whole);
	}
	if (place >= 0)
		close(place);
	errno = error;
	if (part < 0) {
		s->what = inside;
		return -1;
	}
	if (flags & FLAG_READONLY && set_attributes(part, MOUNT_ATTR_RDONLY, 0) < 0)
		return -1;
	int done = attach(s, part, target);
	close(part);
	return done;
}

static int write_all(int fd, const uint8_t *bytes, uint32_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, bytes, size);
		if (n < 0)
			return -1;
		bytes += n;
		size -= (uint32_t)n;
	}
	return 0;
}

int op_file(struct sandbox *s, struct cursor c)
{
	uint32_t mode = take_u32(&c), uid = take_u32(&c), gid = take_u32(&c), flags = take_u32(&c), size = take_u32(&c);
	const char *target = take_string(&c);
	const uint8_t *content = take_bytes(&c, size);
	char name[16];
	snprintf(name, sizeof name, "%u", s->op);
	int fd = openat(s->files, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0 || write_all(fd, content, size) < 0)
		return -1;
	/* why: a new owner takes bits of the mode away. */
	if ((uid || gid) && (fchown(fd, uid, gid) < 0 || fchmod(fd, mode) < 0))
		return -1;
	close(fd);
	int mount = bind_source(s, s->files, name, 0);
	if (mount < 0 || (flags & FLAG_READONLY && set_attributes(mount, MOUNT_ATTR_RDONLY, 0) < 0))
		return -1;
	int done = attach(s, mount, target);
	int error = errno;
	close_later(mount);
	errno = error;
	return done;
}

/* An empty read-only tmpfs: one for all paths, since one for each would have to be made, and taken down in the end. */
static int empty_directory(struct sandbox *s)
{
	if (s->empty >= 0)
		return bind_source(s, s->empty, "", 0);
	int fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
	s->empty = fs < 0 ? -1 : create(fs, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (fs >= 0)
		close_later(fs);
	return s->empty;
}

/* Hides a path: a file behind the host's own /dev/null, a directory behind an empty read-only tmpfs. */
int op_mask(struct sandbox *s, struct cursor c)
{
	const char *path = take_string(&c);
	int at = open_in_root(s, path, O_PATH);
	if (at < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
	int mount = is_directory(at) ? empty_directory(s) : bind_source(s, s->dev_null, "", 0);
	int done = mount < 0 ? -1 : move_onto(s, mount, at);
	int error = errno;
	close_later(at);
	if (mount != s->empty)
		close_later(mount);
	errno = error;
	return done;
}

int op_readonly(struct sandbox *s, struct cursor c)
{
	const char *path = take_string(&c);
	int at = open_in_root(s, path, O_PATH);
	if (at < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
	int mount = bind_source(s, at, "", 1);
	int done = mount < 0 || set_attributes(mount, MOUNT_ATTR_RDONLY, 1) < 0
			   ? -1
			   : move_onto(s, mount, at);
	int error = errno;
	close_later(at);
	close_later(mount);
	errno = error;
	return done;
}

int op_root_readonly(struct sandbox *s)
{
	return set_attributes(s->root, MOUNT_ATTR_RDONLY, 0);
}

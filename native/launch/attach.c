/* Mounts as the OCI config describes them: any type, attributes for one mount or all below it, propagation. */
#include "sandbox.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#ifndef STATX_ATTR_MOUNT_ROOT
#define STATX_ATTR_MOUNT_ROOT 0x2000
#endif

struct attachment {
	uint32_t flags, set, clear, set_below, clear_below, propagation, tree, options;
	const char *type, *source, *target;
};

static int configure(struct sandbox *s, int fs, const char *key, const char *value)
{
	s->what = key;
	if (*value)
		return (int)syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, key, value, 0);
	return (int)syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, key, NULL, 0);
}

/* In a user namespace some file systems can only be borrowed from the host. */
static const char *borrowed(const char *type)
{
	return !strcmp(type, "sysfs") ? "/sys" : !strcmp(type, "mqueue") ? "/dev/mqueue" : NULL;
}

/* A tmpfs whose mode nobody says has that of the directory that it hides: its text, empty where there is none. */
static int kept_mode(struct sandbox *s, const struct attachment *a, char text[8])
{
	struct stat st;
	text[0] = 0;
	if (!(a->flags & ATTACH_KEEP_MODE))
		return 0;
	int at = open_in_root(s, a->target, O_PATH);
	if (at < 0)
		return errno == ENOENT || errno == ELOOP ? 0 : -1;
	int done = fstat(at, &st);
	close(at);
	if (done == 0 && S_ISDIR(st.st_mode))
		snprintf(text, 8, "%o", st.st_mode & 07777);
	return done;
}

static int make_file_system(struct sandbox *s, const struct attachment *a, struct cursor options)
{
	char mode[8];
	if (kept_mode(s, a, mode) < 0)
		return -1;
	s->what = a->type;
	int fs = (int)syscall(SYS_fsopen, a->type, FSOPEN_CLOEXEC);
	if (fs < 0)
		return -1;
	int failed = (*a->source && configure(s, fs, "source", a->source) < 0) || (*mode && configure(s, fs, "mode", mode) < 0);
	for (uint32_t i = 0; i < a->options && !failed; i++) {
		const char *key = take_string(&options), *value = take_string(&options);
		failed = configure(s, fs, key, value) < 0;
	}
	if (!failed)
		s->what = a->type;
	failed = failed || syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0;
	int mount = failed ? -1 : (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
	int error = errno;
	close(fs);
	errno = error;
	if (mount >= 0 || errno != EPERM || !borrowed(a->type))
		return mount;
	return copy_mounts(s, AT_FDCWD, borrowed(a->type), AT_RECURSIVE);
}

static int change(int mount, uint64_t set, uint64_t clear, uint64_t propagation, int recursive)
{
	if (!set && !clear && !propagation)
		return 0;
	struct mount_attr attr = { .attr_set = set, .attr_clr = clear, .propagation = propagation };
	return (int)syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr, sizeof attr);
}

static int change_all(int mount, const struct attachment *a)
{
	if (change(mount, a->set_below, a->clear_below, 0, 1) < 0 || change(mount, a->set, a->clear, 0, 0) < 0)
		return -1;
	return change(mount, 0, 0, a->propagation & ~(uint32_t)MS_REC, (a->propagation & MS_REC) != 0);
}

/*
 * As change_all, but EPERM where that took away what the mount forbids, or changed how access times are kept: the
 * kernel says so of mounts that it copies into a user namespace (mount_namespaces(7)), but this one came as a descriptor.
 */
static int change_unlocked(int mount, const struct attachment *a)
{
	const unsigned long forbidden = ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC;
	const unsigned long access_times = ST_NOATIME | ST_NODIRATIME | ST_RELATIME;
	struct statvfs before, after;
	if (fstatvfs(mount, &before) < 0 || change_all(mount, a) < 0 || fstatvfs(mount, &after) < 0)
		return -1;
	if (!(before.f_flag & ~after.f_flag & forbidden) && !((before.f_flag ^ after.f_flag) & access_times))
		return 0;
	errno = EPERM;
	return -1;
}

/* What lies at the target comes along into the tmpfs that hides it. */
static int fill(struct sandbox *s, int mount, const char *target)
{
	int from = open_in_root(s, target, O_RDONLY | O_DIRECTORY);
	if (from < 0)
		return errno == ENOENT ? 0 : -1;
	int to = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int done = to < 0 ? -1 : copy_up(from, to);
	int error = errno;
	close(from);
	if (to >= 0)
		close(to);
	errno = error;
	return done;
}

static int remount(struct sandbox *s, const struct attachment *a)
{
	int at = open_in_root(s, a->target, O_PATH);
	int done = at < 0 ? -1 : change_all(at, a);
	if (at >= 0)
		close(at);
	return done;
}

static int is_root(const char *path)
{
	return path[strspn(path, "/")] == 0;
}

/* A path of the host's; one in the root is what it is there, wherever an image's symlink on the way points to. */
static int bind_source(struct sandbox *s, const struct attachment *a)
{
	const unsigned recursive = a->flags & ATTACH_RECURSIVE ? AT_RECURSIVE : 0;
	const int nofollow = a->flags & ATTACH_SOURCE_NOFOLLOW;
	const char *inside = a->flags & ATTACH_SOURCE_IN_ROOT ? path_below(a->source, s->point) : NULL;
	if (!inside)
		return copy_mounts(s, AT_FDCWD, a->source, recursive | (nofollow ? AT_SYMLINK_NOFOLLOW : 0));
	int at = in_root(s, s->root, inside, O_PATH | (nofollow ? O_NOFOLLOW : 0));
	int mount = at < 0 ? -1 : copy_mounts(s, at, "", recursive);
	int error = errno;
	if (at >= 0)
		close(at);
	s->what = a->source;
	errno = error;
	return mount;
}

int op_attach(struct sandbox *s, struct cursor c)
{
	struct attachment a = { .flags = take_u32(&c) };
	uint32_t *const numbers[] = { &a.set, &a.clear, &a.set_below, &a.clear_below, &a.propagation, &a.tree, &a.options };
	for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++)
		*numbers[i] = take_u32(&c);
	a.type = take_string(&c);
	a.source = take_string(&c);
	a.target = take_string(&c);
	if (a.flags & ATTACH_REMOUNT)
		return remount(s, &a);
	int mount;
	s->what = a.source;
	if (a.flags & ATTACH_INSIDE)
		mount = receive_source(s, a.tree);
	else if (a.tree > 0)
		mount = own_tree(s, a.tree, a.propagation);
	else if (a.flags & ATTACH_BIND)
		mount = bind_source(s, &a);
	else
		mount = make_file_system(s, &a, c);
	if (mount < 0)
		return -1;
	if (a.flags & ATTACH_COPY_UP && fill(s, mount, a.target) < 0)
		return -1;
	if (s->is_apart && change_all(mount, &a) < 0)
		return -1;
	int done = a.flags & ATTACH_TARGET_NOFOLLOW ? attach_unfollowed(s, mount, a.target) : attach(s, mount, a.target);
	if (done == 0 && !s->is_apart)
		done = a.flags & ATTACH_LOCKED ? change_unlocked(mount, &a) : change_all(mount, &a);
	if (done == 0 && is_root(a.target)) {
		/* It covers the root: what comes next goes there. */
		close(s->root);
		s->root = mount;
		return 0;
	}
	int error = errno;
	close(mount);
	errno = error;
	return done;
}

/* A device of the host under the same path, where none can be made (user namespaces). */
static int bind_device(struct sandbox *s, const char *path)
{
	int mount = copy_mounts(s, AT_FDCWD, path, 0);
	int done = mount < 0 ? -1 : attach(s, mount, path);
	int error = errno;
	if (mount >= 0)
		close(mount);
	errno = error;
	return done;
}

int op_device(struct sandbox *s, struct cursor c)
{
	uint32_t mode = take_u32(&c), major_number = take_u32(&c), minor_number = take_u32(&c);
	uint32_t uid = take_u32(&c), gid = take_u32(&c);
	take_u32(&c);
	const char *path = take_string(&c);
	char name[NAME_MAX + 1];
	s->what = path;
	int parent = find_parent(s, path, name);
	if (parent < 0)
		return -1;
	int done = mknodat(parent, name, mode, makedev(major_number, minor_number));
	if (done == 0)
		done = fchownat(parent, name, uid, gid, AT_SYMLINK_NOFOLLOW);
	else if (errno == EEXIST)
		done = 0;
	return done < 0 && errno == EPERM ? bind_device(s, path) : done;
}

/* By name in its directory, which nobody can rename while it is a mount point, and no symlink is followed. */
int op_detach(struct sandbox *s, struct cursor c)
{
	const char *path = take_string(&c);
	char name[NAME_MAX + 1];
	struct statx st = { 0 };
	int at = open_in_root(s, path, O_PATH | O_NOFOLLOW);
	if (at < 0)
		return -1;
	int done = statx(at, "", AT_EMPTY_PATH, 0, &st);
	close(at);
	if (done == 0 && !(st.stx_attributes & STATX_ATTR_MOUNT_ROOT)) {
		errno = EINVAL;
		return -1;
	}
	int parent = done < 0 ? -1 : find_parent(s, path, name);
	return parent < 0 || fchdir(parent) < 0 ? -1 : umount2(name, MNT_DETACH | UMOUNT_NOFOLLOW);
}

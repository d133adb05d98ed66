/*
 * Paths of the container: every one is resolved inside its root by openat2 (RESOLVE_IN_ROOT), never on the host.
 */
#include "sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef STATX_MNT_ID
#define STATX_MNT_ID 0x1000U
#endif

/*
 * /dev, /proc and /sys are the kernel's in every container: a symlink on the way there is an image's trick to have
 * nodes, masks or a terminal put where it wants them (CVE-2025-52565, CVE-2019-19921).
 */
static int is_kernels(const char *path)
{
	static const char *const places[] = { "dev", "proc", "sys" };
	path += strspn(path, "/");
	for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
		size_t length = strlen(places[i]);
		if (!strncmp(path, places[i], length) && (path[length] == '/' || path[length] == 0))
			return 1;
	}
	return 0;
}

int in_root(struct sandbox *s, int at, const char *path, int flags)
{
	struct open_how how = { .flags = (uint64_t)(flags | O_CLOEXEC), .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	if (at == s->root && is_kernels(path))
		how.resolve |= RESOLVE_NO_SYMLINKS;
	s->what = path;
	return (int)syscall(SYS_openat2, at, *path ? path : "/", &how, sizeof how);
}

int open_in_root(struct sandbox *s, const char *path, int flags)
{
	return in_root(s, s->root, path, flags);
}

/* Opens the directory that holds `path`, making it where it is missing; *name is the last component. */
int open_parent(struct sandbox *s, const char *path, char *name)
{
	char parent[PATH_MAX];
	size_t length = strlen(path);
	while (length > 1 && path[length - 1] == '/')
		length--;
	size_t start = length;
	while (start > 0 && path[start - 1] != '/')
		start--;
	if (length - start == 0 || length - start > NAME_MAX || start >= sizeof parent) {
		errno = EINVAL;
		return -1;
	}
	memcpy(name, path + start, length - start);
	name[length - start] = 0;
	if (!strcmp(name, ".") || !strcmp(name, "..")) {
		errno = EINVAL;
		return -1;
	}
	memcpy(parent, path, start);
	parent[start] = 0;
	int fd = open_in_root(s, parent, O_PATH | O_DIRECTORY);
	if (fd >= 0 || errno != ENOENT)
		return fd;
	char above_name[NAME_MAX + 1];
	int above = open_parent(s, parent, above_name);
	if (above < 0)
		return -1;
	int made = mkdirat(above, above_name, 0755);
	close(above);
	if (made < 0 && errno != EEXIST)
		return -1;
	return open_in_root(s, parent, O_PATH | O_DIRECTORY);
}

/* What a symlink at `path` means, as a path again, in `path` itself. */
static int follow(int parent, const char *name, char *path, size_t size)
{
	char link[PATH_MAX];
	ssize_t n = readlinkat(parent, name, link, sizeof link - 1);
	if (n < 0)
		return -1;
	link[n] = 0;
	char *slash = strrchr(path, '/');
	size_t keep = link[0] == '/' || !slash ? 0 : (size_t)(slash - path) + 1;
	if (keep + (size_t)n >= size) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(path + keep, link, (size_t)n + 1);
	return 0;
}

int open_target(struct sandbox *s, const char *wanted, int directory)
{
	char path[PATH_MAX], name[NAME_MAX + 1];
	if (strlen(wanted) >= sizeof path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(path, wanted);
	/* A symlink to nowhere is followed by hand, inside the root, and its target made. */
	for (int links = 0; links < 40; links++) {
		int fd = open_in_root(s, path, O_PATH);
		if (fd >= 0 || errno != ENOENT)
			return fd;
		int parent = open_parent(s, path, name);
		if (parent < 0)
			return -1;
		int made = directory ? mkdirat(parent, name, 0755) : mknodat(parent, name, S_IFREG | 0644, 0);
		int followed = made < 0 && errno == EEXIST ? follow(parent, name, path, sizeof path) : -1;
		int error = errno;
		close(parent);
		errno = error;
		if (made < 0 && followed < 0 && errno != EINVAL)
			return -1;
	}
	errno = ELOOP;
	return -1;
}

int is_directory(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Makes the mount that `path` lies on private, so that what is attached below it stays in our mount namespace. */
int make_private(const char *path)
{
	char at[PATH_MAX], parent[PATH_MAX];
	struct statx here, above;
	if (strlen(path) >= sizeof at) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(at, path);
	if (statx(AT_FDCWD, at, 0, STATX_MNT_ID, &here) < 0)
		return -1;
	while (at[0] && strcmp(at, "/")) {
		strcpy(parent, at);
		char *slash = strrchr(parent, '/');
		if (!slash)
			break;
		slash[slash == parent ? 1 : 0] = 0;
		if (statx(AT_FDCWD, parent, 0, STATX_MNT_ID, &above) < 0)
			return -1;
		if (above.stx_mnt_id != here.stx_mnt_id)
			break;
		strcpy(at, parent);
	}
	return mount(NULL, at, NULL, MS_PRIVATE, NULL);
}

/*
 * Paths of the container: every one is resolved inside its root by openat2 (RESOLVE_IN_ROOT), never on the host.
 */
#include "../openat2.h"
#include "sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
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
	return openat2_beneath(at, *path ? path : "/", &how);
}

const char *path_below(const char *path, const char *above)
{
	size_t length = above ? strlen(above) : 0;
	return length > 1 && !strncmp(path, above, length) && path[length] == '/' ? path + length : NULL;
}

int open_in_root(struct sandbox *s, const char *path, int flags)
{
	return in_root(s, s->root, path, flags);
}

/* Opens a directory; of its path what is missing is made. `path` is changed on the way and whole again afterwards. */
static int make_directories(struct sandbox *s, char *path)
{
	int above = open_in_root(s, "/", O_PATH | O_DIRECTORY), made = 0;
	for (char *name = path + strspn(path, "/"); above >= 0 && *name;) {
		char *end = name + strcspn(name, "/"), had = *end;
		*end = 0;
		int fd = open_in_root(s, path, O_PATH | O_DIRECTORY);
		if (fd < 0 && errno == ENOENT) {
			made = mkdirat(above, name, 0755) == 0 || errno == EEXIST;
			fd = made ? open_in_root(s, path, O_PATH | O_DIRECTORY) : -1;
		} else if (made && (!strcmp(name, ".") || !strcmp(name, ".."))) {
			close(fd);
			fd = -1;
			errno = EINVAL;
		}
		int error = errno;
		*end = had;
		close(above);
		errno = error;
		above = fd;
		name = end + strspn(end, "/");
	}
	return above;
}

void close_later(int fd)
{
	enum { MANY = 128 };
	if (fd >= MANY)
		close(fd);
}

void forget_parent(struct sandbox *s)
{
	if (s->parent_directory >= 0)
		close_later(s->parent_directory);
	s->parent_directory = -1;
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

static int is_dangling(struct sandbox *s, const char *path)
{
	struct stat st;
	int at = open_in_root(s, path, O_PATH | O_NOFOLLOW);
	int is_link = at >= 0 && fstat(at, &st) == 0 && S_ISLNK(st.st_mode);
	if (at >= 0)
		close(at);
	int there = is_link ? open_in_root(s, path, O_PATH) : -1;
	if (there >= 0)
		close(there);
	return is_link && there < 0 && errno == ENOENT;
}

/* Puts what the symlink path[start, end) means in its place; 0, or -1 where that is no path. */
static int substitute(struct sandbox *s, char *path, char *start, const char *end)
{
	char rest[PATH_MAX], name[NAME_MAX + 1];
	size_t length = (size_t)(end - start);
	if (length >= sizeof name)
		return -1;
	strcpy(rest, end);
	memcpy(name, start, length);
	name[length] = 0;
	*start = 0;
	int parent = open_in_root(s, path, O_PATH | O_DIRECTORY);
	memcpy(start, name, length + 1);
	int done = parent < 0 ? -1 : follow(parent, name, path, PATH_MAX);
	if (parent >= 0)
		close(parent);
	if (done < 0 || strlen(path) + strlen(rest) >= PATH_MAX)
		return -1;
	strcat(path, rest);
	return 0;
}

/* Whether a symlink on the way led nowhere; its meaning then stands in its place. `path` has PATH_MAX bytes. */
static int expand_link(struct sandbox *s, char *path)
{
	for (char *start = path + strspn(path, "/"); *start;) {
		char *end = start + strcspn(start, "/"), had = *end;
		*end = 0;
		int dangling = is_dangling(s, path);
		*end = had;
		if (dangling) {
			int error = errno;
			int done = substitute(s, path, start, end);
			errno = error;
			return done == 0;
		}
		start = end + strspn(end, "/");
	}
	errno = ENOENT;
	return 0;
}

int find_parent(struct sandbox *s, const char *path, char *name)
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
	if (s->parent_directory >= 0 && start > 0 && !strcmp(s->parent_path, parent))
		return s->parent_directory;
	int fd = open_in_root(s, parent, O_PATH | O_DIRECTORY);
	if (fd < 0 && errno == ENOENT)
		fd = make_directories(s, parent);
	int links = 0;
	for (; fd < 0 && errno == ENOENT && links < 40 && expand_link(s, parent); links++)
		fd = make_directories(s, parent);
	/* why: what an error message is made of must outlive this function. */
	s->what = path;
	forget_parent(s);
	s->parent_directory = fd;
	s->parent_path[0] = 0;
	if (links == 0 && start < sizeof s->parent_path)
		memcpy(s->parent_path, parent, start + 1);
	return fd;
}

/* `path` is where a target is wanted, PATH_MAX long, and changes on the way. */
static int open_or_make(struct sandbox *s, char *path, int directory)
{
	char name[NAME_MAX + 1];
	/* A symlink to nowhere is followed by hand, inside the root, and its target made. */
	for (int links = 0; links < 40; links++) {
		int fd = open_in_root(s, path, O_PATH);
		if (fd >= 0 || errno != ENOENT)
			return fd;
		int parent = find_parent(s, path, name);
		if (parent < 0)
			return -1;
		int made = directory ? mkdirat(parent, name, 0755) : mknodat(parent, name, S_IFREG | 0644, 0);
		int followed = made < 0 && errno == EEXIST ? follow(parent, name, path, PATH_MAX) : -1;
		if (made < 0 && followed < 0 && errno != EINVAL)
			return -1;
	}
	errno = ELOOP;
	return -1;
}

int open_target(struct sandbox *s, const char *wanted, int directory)
{
	char path[PATH_MAX];
	if (strlen(wanted) >= sizeof path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(path, wanted);
	int fd = open_or_make(s, path, directory);
	s->what = wanted;
	return fd;
}

int is_directory(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

int change_propagation(int tree, uint64_t propagation)
{
	struct mount_attr attr = { .propagation = propagation };
	return (int)syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr);
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

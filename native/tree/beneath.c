#include "beneath.h"
#include "../openat2.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ON_THE_WAY (O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

static int one_by_one(int root, char *path, int flags)
{
	int at = root;
	for (char *name = path; name;) {
		char *slash = strchr(name, '/');
		if (slash)
			*slash = 0;
		if (strcmp(name, "..") == 0) {
			errno = EXDEV;
			return -1;
		}
		int next = openat(at, name, slash ? ON_THE_WAY : flags | O_NOFOLLOW | O_CLOEXEC);
		int error = errno;
		if (at != root)
			close(at);
		errno = error;
		if (next < 0)
			return -1;
		at = next;
		name = slash ? slash + 1 : NULL;
	}
	return at;
}

/* At most PATH_MAX - 1 bytes. */
static int open_piece(int root, const char *path, size_t length, int flags)
{
	char copy[PATH_MAX];
	memcpy(copy, path, length);
	copy[length] = 0;
	struct open_how how = {
		.flags = (unsigned)(flags | O_CLOEXEC),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	int fd = openat2_beneath(root, copy, &how);
	/* Before Linux 5.6, and where a container's filter does not know it (which answers either). */
	if (fd < 0 && (errno == ENOSYS || errno == EPERM))
		return one_by_one(root, copy, flags);
	return fd;
}

int open_beneath(int root, const char *path, size_t length, int flags)
{
	if (length == 0)
		return openat(root, ".", flags | O_CLOEXEC);
	int at = root;
	while (length >= PATH_MAX) {
		const char *slash = memrchr(path, '/', PATH_MAX - 1);
		if (!slash) {
			errno = ENAMETOOLONG;
			break;
		}
		size_t part = (size_t)(slash - path);
		int next = open_piece(at, path, part, ON_THE_WAY);
		int error = errno;
		if (at != root)
			close(at);
		errno = error;
		if (next < 0)
			return -1;
		at = next;
		path += part + 1;
		length -= part + 1;
	}
	int fd = length < PATH_MAX ? open_piece(at, path, length, flags) : -1;
	int error = errno;
	if (at != root)
		close(at);
	errno = error;
	return fd;
}

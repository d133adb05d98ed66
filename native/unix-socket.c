#include "unix-socket.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* An address by way of the directory's descriptor: sun_path has 108 bytes, paths of containers may be longer. */
static int address_of(const char *path, struct sockaddr_un *address)
{
	char directory[PATH_MAX];
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	size_t length = slash ? (size_t)(slash - path) : 0;
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (length >= sizeof directory || strlen(name) > 64) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(directory, path, length);
	directory[length] = 0;
	int fd = open(slash ? (length ? directory : "/") : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/%.64s", fd, name);
	return fd;
}

int connect_path(const char *path, int type)
{
	struct sockaddr_un address;
	int directory = address_of(path, &address);
	if (directory < 0)
		return -1;
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	int done = fd < 0 ? -1 : connect(fd, (struct sockaddr *)&address, sizeof address);
	int error = errno;
	close(directory);
	if (done < 0 && fd >= 0)
		close(fd);
	errno = error;
	return done < 0 ? -1 : fd;
}

static int bound(const char *path, int type)
{
	struct sockaddr_un address;
	int directory = address_of(path, &address);
	if (directory < 0)
		return -1;
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	int done = fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ? -1 : 0;
	if (done == 0 && type == SOCK_STREAM)
		done = listen(fd, 1);
	int error = errno;
	close(directory);
	if (done < 0 && fd >= 0)
		close(fd);
	errno = error;
	return done < 0 ? -1 : fd;
}

int listen_path(const char *path)
{
	return bound(path, SOCK_STREAM);
}

int bind_path(const char *path)
{
	return bound(path, SOCK_DGRAM);
}

int send_descriptor(int socket, const void *bytes, size_t size, int fd)
{
	struct iovec part = { (void *)(uintptr_t)bytes, size };
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} rights = { 0 };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };
	if (fd >= 0) {
		header.msg_control = rights.bytes;
		header.msg_controllen = sizeof rights.bytes;
		struct cmsghdr *control = CMSG_FIRSTHDR(&header);
		control->cmsg_level = SOL_SOCKET;
		control->cmsg_type = SCM_RIGHTS;
		control->cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(control), &fd, sizeof fd);
	}
	return sendmsg(socket, &header, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

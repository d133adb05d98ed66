#include "frames.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

int send_frame(int fd, uint32_t type, uint32_t id, const void *payload, uint32_t length)
{
	struct frame head = { length, type, id };
	struct iovec parts[2] = { { &head, sizeof head }, { (void *)(uintptr_t)payload, length } };
	int first = 0;
	while (first < 2) {
		ssize_t n = writev(fd, parts + first, 2 - first);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		for (; first < 2 && (size_t)n >= parts[first].iov_len; first++)
			n -= (ssize_t)parts[first].iov_len;
		if (first < 2) {
			parts[first].iov_base = (char *)parts[first].iov_base + n;
			parts[first].iov_len -= (size_t)n;
		}
	}
	return 0;
}

int send_exit(int fd, uint32_t id, int status)
{
	uint32_t values[2] = { WIFSIGNALED(status) ? 1 : 0, (uint32_t)(WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status)) };
	return send_frame(fd, FRAME_EXIT, id, values, sizeof values);
}

int send_problem(int fd, uint32_t type, uint32_t id, uint32_t op, uint32_t error, const char *text)
{
	char payload[8 + sizeof((struct message *)0)->text];
	size_t length = strnlen(text, sizeof payload - 8);
	memcpy(payload, &op, 4);
	memcpy(payload + 4, &error, 4);
	memcpy(payload + 8, text, length);
	return send_frame(fd, type, id, payload, (uint32_t)(8 + length));
}

int read_all(int fd, void *buffer, size_t size)
{
	for (char *at = buffer; size > 0;) {
		ssize_t n = read(fd, at, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0 && at == (char *)buffer ? 0 : -1;
		at += n;
		size -= (size_t)n;
	}
	return 1;
}

int receive_message(int control, struct message *message, int *fd)
{
	struct iovec part = { message, sizeof *message };
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} rights = { 0 };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = rights.bytes, .msg_controllen = sizeof rights.bytes };
	*fd = -1;
	ssize_t n;
	do
		n = recvmsg(control, &header, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof *message)
		return 0;
	message->text[sizeof message->text - 1] = 0;
	struct cmsghdr *received = CMSG_FIRSTHDR(&header);
	if (received && received->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(received), sizeof *fd);
	return 1;
}

/* See netlink.h. */
#include "netlink.h"
#include <errno.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MAX (64u << 10)

int netlink_open(int protocol)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	const int on = 1, size = 4 << 20;
	struct sockaddr_nl address = { .nl_family = AF_NETLINK };
	if (fd < 0)
		return -1;
	/* An error need not repeat the request; a big batch is one datagram. */
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void *reserve(struct request *r, size_t size)
{
	size_t aligned = NLMSG_ALIGN(size);
	if (r->full || aligned > REQUEST_MAX - r->size) {
		r->full = 1;
		return NULL;
	}
	void *at = r->bytes + r->size;
	memset(at, 0, aligned);
	r->size += aligned;
	return at;
}

void request_begin(struct request *r, uint16_t type, uint16_t flags, const void *head, size_t size)
{
	r->size = 0;
	r->full = 0;
	struct nlmsghdr *header = reserve(r, sizeof *header);
	header->nlmsg_type = type;
	header->nlmsg_flags = flags | NLM_F_REQUEST | NLM_F_ACK;
	header->nlmsg_seq = 1;
	void *at = reserve(r, size);
	if (at)
		memcpy(at, head, size);
}

void put_bytes(struct request *r, uint16_t type, const void *value, size_t size)
{
	struct nlattr *attribute = reserve(r, NLA_HDRLEN + size);
	if (!attribute)
		return;
	attribute->nla_type = type;
	attribute->nla_len = (uint16_t)(NLA_HDRLEN + size);
	if (size)
		memcpy((uint8_t *)attribute + NLA_HDRLEN, value, size);
}

void put_u8(struct request *r, uint16_t type, uint8_t value)
{
	put_bytes(r, type, &value, sizeof value);
}

void put_u16(struct request *r, uint16_t type, uint16_t value)
{
	put_bytes(r, type, &value, sizeof value);
}

void put_u32(struct request *r, uint16_t type, uint32_t value)
{
	put_bytes(r, type, &value, sizeof value);
}

void put_string(struct request *r, uint16_t type, const char *value)
{
	put_bytes(r, type, value, strlen(value) + 1);
}

size_t nest_begin(struct request *r, uint16_t type)
{
	size_t at = r->size;
	put_bytes(r, type, NULL, 0);
	return at;
}

void nest_raw(struct request *r, const void *head, size_t size)
{
	void *at = reserve(r, size);
	if (at)
		memcpy(at, head, size);
}

void nest_end(struct request *r, size_t at)
{
	if (!r->full)
		((struct nlattr *)(void *)(r->bytes + at))->nla_len = (uint16_t)(r->size - at);
}

int request_send(int fd, struct request *r)
{
	if (r->full) {
		errno = EMSGSIZE;
		return -1;
	}
	((struct nlmsghdr *)(void *)r->bytes)->nlmsg_len = (uint32_t)r->size;
	return netlink_send(fd, r->bytes, r->size);
}

/* The first error in a datagram; 0 where there is none. */
static int error_in(const uint8_t *bytes, size_t size)
{
	while (size >= sizeof(struct nlmsghdr)) {
		struct nlmsghdr header;
		memcpy(&header, bytes, sizeof header);
		if (header.nlmsg_len < sizeof header || header.nlmsg_len > size)
			return EBADMSG;
		int code = 0;
		if (header.nlmsg_type == NLMSG_ERROR && header.nlmsg_len >= NLMSG_HDRLEN + sizeof code)
			memcpy(&code, bytes + NLMSG_HDRLEN, sizeof code);
		if (code)
			return -code;
		size_t step = NLMSG_ALIGN(header.nlmsg_len);
		if (step >= size)
			break;
		bytes += step;
		size -= step;
	}
	return 0;
}

static int send_whole(int fd, const void *bytes, size_t size)
{
	ssize_t n;
	do
		n = send(fd, bytes, size, 0);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)size ? 0 : -1;
}

int netlink_send(int fd, const void *bytes, size_t size)
{
	static uint8_t answer[ANSWER_MAX];
	if (send_whole(fd, bytes, size) < 0)
		return -1;
	int error = 0, answers = 0;
	for (;;) {
		ssize_t n = recv(fd, answer, sizeof answer, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		answers++;
		if (!error)
			error = error_in(answer, (size_t)n);
	}
	if (!error && errno != EAGAIN)
		return -1;
	/* why: every request asks for an acknowledgement; without one nobody can say what was done. */
	errno = error ? error : EPROTO;
	return error || !answers ? -1 : 0;
}

int netlink_dump(int fd, const void *bytes, size_t size, int (*each)(void *, const void *, size_t), void *context)
{
	static uint8_t answer[ANSWER_MAX];
	if (send_whole(fd, bytes, size) < 0)
		return -1;
	for (;;) {
		ssize_t n = recv(fd, answer, sizeof answer, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		int error = error_in(answer, (size_t)n);
		if (error) {
			errno = error;
			return -1;
		}
		if (each(context, answer, (size_t)n) < 0)
			return -1;
		for (size_t at = 0; at + sizeof(struct nlmsghdr) <= (size_t)n;) {
			struct nlmsghdr header;
			memcpy(&header, answer + at, sizeof header);
			if (header.nlmsg_type == NLMSG_DONE || header.nlmsg_type == NLMSG_ERROR || !(header.nlmsg_flags & NLM_F_MULTI))
				return 0;
			at += NLMSG_ALIGN(header.nlmsg_len);
		}
	}
}

uint32_t interface_index(int fd, const char *name)
{
	struct ifreq request = { 0 };
	if (strlen(name) >= sizeof request.ifr_name) {
		errno = ENAMETOOLONG;
		return 0;
	}
	memcpy(request.ifr_name, name, strlen(name));
	return ioctl(fd, SIOCGIFINDEX, &request) < 0 ? 0 : (uint32_t)request.ifr_ifindex;
}

#include "ports.h"
#include "relay.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static struct listener *listeners;
static uint32_t count;

static void name_port(const struct published *p, char text[PORT_TEXT])
{
	char address[INET6_ADDRSTRLEN];
	int is_4 = p->from.any.sa_family == AF_INET;
	const void *bytes = is_4 ? (const void *)&p->from.v4.sin_addr : (const void *)&p->from.v6.sin6_addr;
	inet_ntop(p->from.any.sa_family, bytes, address, sizeof address);
	snprintf(text, PORT_TEXT, is_4 ? "%s:%u/%s" : "[%s]:%u/%s", address, ntohs(is_4 ? p->from.v4.sin_port : p->from.v6.sin6_port),
		 p->protocol == IPPROTO_TCP ? "tcp" : "udp");
}

static int configure(int fd, const struct published *p)
{
	int on = 1;
	if (p->from.any.sa_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0)
		return -1;
	if (p->protocol == IPPROTO_TCP)
		/* Connections that have ended keep nobody from listening again. */
		return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	return p->from.any.sa_family == AF_INET ? setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on)
						: setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
}

static int open_one(const struct published *p)
{
	int is_tcp = p->protocol == IPPROTO_TCP;
	int fd = socket(p->from.any.sa_family, (is_tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	if (configure(fd, p) < 0 || bind(fd, &p->from.any, p->from.size) < 0 || (is_tcp && listen(fd, SOMAXCONN) < 0)) {
		int error = errno;
		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

static int add(const struct published *p)
{
	struct listener *listener = &listeners[count];
	int is_tcp = p->protocol == IPPROTO_TCP;
	int fd = open_one(p);
	if (fd < 0)
		return -1;
	*listener = (struct listener){ { is_tcp ? connections_ready : datagrams_ready, fd, 0 }, p->to };
	count++;
	return relay_want(&listener->source, is_tcp ? EPOLLIN | EPOLLET : EPOLLIN);
}

int ports_open(const uint8_t *bytes, uint32_t size, char text[PORT_TEXT])
{
	uint32_t wanted;
	text[0] = 0;
	if (ports_check(bytes, size, &wanted) < 0)
		return -1;
	if (wanted == 0)
		return 0;
	listeners = calloc(wanted, sizeof *listeners);
	if (!listeners || relay_begin() < 0)
		return -1;
	for (uint32_t i = 0; i < wanted; i++) {
		struct published p = ports_at(bytes, i);
		name_port(&p, text);
		if (add(&p) < 0) {
			int error = errno;
			ports_close();
			errno = error;
			return -1;
		}
	}
	return 0;
}

void ports_close(void)
{
	connections_end();
	datagrams_end();
	for (; count > 0; count--) {
		relay_want(&listeners[count - 1].source, 0);
		close(listeners[count - 1].source.fd);
	}
	free(listeners);
	listeners = NULL;
}

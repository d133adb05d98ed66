/* Opening the name service: its listening sockets live in the container's namespace, all others in the caller's. */
#include "dns-socket.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

static int listen_on(int type)
{
	const struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(DNS_PORT),
					     .sin_addr.s_addr = htonl(DNS_ADDRESS) };
	int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	const int on = 1;
	if (type == SOCK_STREAM)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 && (type == SOCK_DGRAM || listen(fd, 16) == 0))
		return fd;
	int error = errno;
	close(fd);
	errno = error;
	return -1;
}

static int listen_inside(struct dns *dns, const char *netns)
{
	int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), there = open(netns, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int result = -1;
	if (here >= 0 && there >= 0 && setns(there, CLONE_NEWNET) == 0) {
		dns->udp = listen_on(SOCK_DGRAM);
		dns->tcp = dns->udp < 0 ? -1 : listen_on(SOCK_STREAM);
		result = dns->tcp < 0 ? -1 : 0;
		int error = errno;
		/* why abort: nothing that the caller does next is meant for the container's network. */
		if (setns(here, CLONE_NEWNET) < 0)
			abort();
		errno = error;
	}
	int error = errno;
	if (here >= 0)
		close(here);
	if (there >= 0)
		close(there);
	errno = error;
	return result;
}

struct dns *dns_open(const char *netns, const char *config)
{
	struct dns *dns = calloc(1, sizeof *dns);
	if (!dns)
		return NULL;
	dns->udp = dns->tcp = -1;
	for (int i = 0; i < DNS_PENDING; i++)
		dns->pending[i].fd = -1;
	for (int i = 0; i < DNS_STREAMS; i++)
		dns->streams[i].client = dns->streams[i].server = -1;
	dns->config = strdup(config);
	dns->poll = epoll_create1(EPOLL_CLOEXEC);
	dns->clock = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (dns->config && dns->poll >= 0 && dns->clock >= 0 && listen_inside(dns, netns) == 0 &&
	    dns_watch(dns, dns->udp, EPOLLIN, DNS_SOURCE_UDP, 0) == 0 &&
	    dns_watch(dns, dns->tcp, EPOLLIN, DNS_SOURCE_LISTENER, 0) == 0 &&
	    dns_watch(dns, dns->clock, EPOLLIN, DNS_SOURCE_CLOCK, 0) == 0)
		return dns;
	int error = errno;
	dns_close(dns);
	errno = error;
	return NULL;
}

int dns_main(const char *netns, const char *config)
{
	struct dns *dns = dns_open(netns, config);
	if (!dns) {
		fprintf(stderr, "tsbuild-launch: cannot serve names in %s: %s\n", netns, strerror(errno));
		return 1;
	}
	printf("ready\n");
	fflush(stdout);
	struct pollfd polled[2] = { { dns_fd(dns), POLLIN, 0 }, { 0, POLLIN, 0 } };
	char ignored[256];
	while (poll(polled, 2, -1) >= 0 || errno == EINTR) {
		if (polled[0].revents)
			dns_serve(dns);
		if (polled[1].revents && read(0, ignored, sizeof ignored) <= 0)
			break;
	}
	dns_close(dns);
	return 0;
}

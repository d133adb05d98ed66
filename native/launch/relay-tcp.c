/* Connections to a published port, handed on to the container byte by byte, ends of streams included. */
#include "relay.h"
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define CHUNK 16384

/* One end. `bytes` were read from it and wait for the other one. */
struct side {
	struct source source;
	struct relay *relay;
	size_t start, size;
	int is_over;      /* it says no more */
	int is_told;      /* that the other one says no more */
	uint8_t bytes[CHUNK];
};

enum { CALLER, CONTAINER };

struct relay {
	struct side side[2];
	int is_connected; /* to the container */
	struct relay *next;
};

static struct relay *relays;
static int count;

static void end(struct relay *relay)
{
	struct relay **at = &relays;
	while (*at != relay)
		at = &(*at)->next;
	*at = relay->next;
	count--;
	for (int i = 0; i < 2; i++)
		if (relay->side[i].source.fd >= 0) {
			relay_want(&relay->side[i].source, 0);
			close(relay->side[i].source.fd);
		}
	free(relay);
}

static int is_later(void)
{
	return errno == EAGAIN || errno == EINTR;
}

/* As much as goes now from one to the other; -1 where the connection is broken. */
static int move(struct side *from, struct side *to)
{
	for (int i = 0; i < 16; i++) {
		if (from->size == 0 && !from->is_over) {
			ssize_t n = recv(from->source.fd, from->bytes, CHUNK, MSG_DONTWAIT);
			if (n < 0)
				return is_later() ? 0 : -1;
			from->is_over = n == 0;
			from->start = 0;
			from->size = (size_t)n;
		}
		if (from->size == 0)
			break;
		ssize_t n = send(to->source.fd, from->bytes + from->start, from->size, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0)
			return is_later() ? 0 : -1;
		from->start += (size_t)n;
		from->size -= (size_t)n;
	}
	if (from->is_over && from->size == 0 && !to->is_told) {
		to->is_told = 1;
		shutdown(to->source.fd, SHUT_WR);
	}
	return 0;
}

static void want(struct side *side, const struct side *other)
{
	relay_want(&side->source, (!side->is_over && side->size == 0 ? EPOLLIN : 0) | (other->size > 0 ? EPOLLOUT : 0));
}

static void side_ready(struct source *self, uint32_t events)
{
	struct relay *relay = ((struct side *)self)->relay;
	struct side *caller = &relay->side[CALLER], *container = &relay->side[CONTAINER];
	if (!relay->is_connected) {
		int error = 0;
		socklen_t size = sizeof error;
		if (self != &container->source || getsockopt(self->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error != 0) {
			end(relay);
			return;
		}
		relay->is_connected = 1;
	}
	(void)events;
	if (move(caller, container) < 0 || move(container, caller) < 0 || (caller->is_told && container->is_told)) {
		end(relay);
		return;
	}
	want(caller, container);
	want(container, caller);
}

/* Takes the caller's descriptor over. */
static void begin(int fd, const struct port_address *to)
{
	struct relay *relay = count < MAX_RELAYED ? malloc(sizeof *relay) : NULL;
	if (!relay) {
		close(fd);
		return;
	}
	for (int i = 0; i < 2; i++) {
		struct side *side = &relay->side[i];
		memset(side, 0, offsetof(struct side, bytes));
		side->source = (struct source){ side_ready, -1, 0 };
		side->relay = relay;
	}
	relay->is_connected = 0;
	relay->next = relays;
	relays = relay;
	count++;
	relay->side[CALLER].source.fd = fd;
	int other = socket(to->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	relay->side[CONTAINER].source.fd = other;
	if (other < 0 || (connect(other, &to->any, to->size) < 0 && errno != EINPROGRESS) ||
	    relay_want(&relay->side[CONTAINER].source, EPOLLOUT) < 0)
		end(relay);
}

void connections_ready(struct source *self, uint32_t events)
{
	(void)events;
	int fd;
	/* All of them: a listener is told of newcomers only once (EPOLLET), or a full table of descriptors would keep us busy. */
	while ((fd = accept4(self->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0 || errno == ECONNABORTED || errno == EINTR)
		if (fd >= 0)
			begin(fd, &((struct listener *)self)->to);
}

void connections_end(void)
{
	while (relays)
		end(relays);
}

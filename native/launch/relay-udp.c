/* Datagrams to a published port: each peer has a socket of its own towards the container, and answers come back by it. */
#include "relay.h"
#include "loop.h"
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define DATAGRAM 65536
#define TURN 64
/* For one struct in6_pktinfo, or in_pktinfo. */
#define CONTROL 64

struct session {
	struct source source; /* connected to the container */
	const struct listener *listener;
	struct port_address peer;
	/* Which address of ours it came to, and so answers come from, as the kernel put it. */
	uint8_t control[CONTROL];
	size_t control_size;
	int64_t heard;
	struct session *next;
};

static struct session *sessions;
static int count;
static uint8_t buffer[DATAGRAM];

static void end(struct session *session)
{
	struct session **at = &sessions;
	while (*at != session)
		at = &(*at)->next;
	*at = session->next;
	count--;
	relay_want(&session->source, 0);
	close(session->source.fd);
	free(session);
}

/* Makes room: whoever is silent goes, and the most silent one where the table is full all the same. */
static void make_room(void)
{
	struct session *oldest = NULL;
	for (struct session *s = sessions, *next; s; s = next) {
		next = s->next;
		if (now_ms() - s->heard > DATAGRAM_IDLE)
			end(s);
		else if (!oldest || s->heard <= oldest->heard)
			oldest = s;
	}
	if (count >= MAX_RELAYED && oldest)
		end(oldest);
}

static void answers_ready(struct source *self, uint32_t events)
{
	struct session *s = (struct session *)self;
	(void)events;
	for (int i = 0; i < TURN; i++) {
		ssize_t n = recv(s->source.fd, buffer, sizeof buffer, MSG_DONTWAIT);
		if (n < 0 && errno == ECONNREFUSED)
			continue; /* nobody listens in the container: as silent as any lost datagram */
		if (n < 0)
			return;
		struct iovec part = { buffer, (size_t)n };
		struct msghdr message = {
			.msg_name = &s->peer.any, .msg_namelen = s->peer.size, .msg_iov = &part, .msg_iovlen = 1,
			.msg_control = s->control_size ? s->control : NULL, .msg_controllen = s->control_size,
		};
		sendmsg(s->listener->source.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
}

static struct session *begin(const struct listener *listener, const struct port_address *peer)
{
	make_room();
	struct session *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->source = (struct source){ answers_ready, -1, 0 };
	s->listener = listener;
	s->peer = *peer;
	s->source.fd = socket(listener->to.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	s->next = sessions;
	sessions = s;
	count++;
	if (s->source.fd >= 0 && connect(s->source.fd, &listener->to.any, listener->to.size) == 0 &&
	    relay_want(&s->source, EPOLLIN) == 0)
		return s;
	end(s);
	return NULL;
}

static struct session *session_of(const struct listener *listener, const struct port_address *peer)
{
	for (struct session *s = sessions; s; s = s->next)
		if (s->listener == listener && s->peer.size == peer->size && memcmp(&s->peer.any, &peer->any, peer->size) == 0)
			return s;
	return begin(listener, peer);
}

void datagrams_ready(struct source *self, uint32_t events)
{
	const struct listener *listener = (struct listener *)self;
	(void)events;
	for (int i = 0; i < TURN; i++) {
		struct port_address peer;
		struct iovec part = { buffer, sizeof buffer };
		union {
			uint8_t bytes[CONTROL];
			struct cmsghdr align;
		} control;
		struct msghdr message = {
			.msg_name = &peer.any, .msg_namelen = sizeof peer - offsetof(struct port_address, any), .msg_iov = &part, .msg_iovlen = 1,
			.msg_control = control.bytes, .msg_controllen = sizeof control.bytes,
		};
		memset(&peer, 0, sizeof peer);
		ssize_t n = recvmsg(self->fd, &message, MSG_DONTWAIT);
		if (n < 0)
			return;
		peer.size = message.msg_namelen;
		struct session *s = session_of(listener, &peer);
		if (!s)
			continue;
		s->heard = now_ms();
		s->control_size = message.msg_controllen;
		memcpy(s->control, control.bytes, message.msg_controllen);
		send(s->source.fd, buffer, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
}

void datagrams_end(void)
{
	while (sessions)
		end(sessions);
}

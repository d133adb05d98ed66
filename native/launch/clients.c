#include "clients.h"
#include "loop.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

static struct client clients[MAX_CLIENTS];
static int is_initialized;
static const struct client_handler *handler;
static int listener = -1;

struct client *clients_next(const struct client *after, uint32_t attached)
{
	for (int i = after ? (int)(after - clients) + 1 : 0; is_initialized && i < MAX_CLIENTS; i++)
		if (clients[i].fd >= 0 && (attached == 0 || clients[i].attached & attached))
			return &clients[i];
	return NULL;
}

int clients_are_behind(void)
{
	for (struct client *c = clients_next(NULL, 0); c; c = clients_next(c, 0))
		if (c->kept_size > 0)
			return 1;
	return 0;
}

void client_drop(struct client *client)
{
	int was_behind = client->kept_size > 0;
	loop_forget(client->fd);
	close(client->fd);
	client->fd = -1;
	handler->gone(client);
	free(client->payload);
	free(client->kept);
	free(client->input);
	memset(client, 0, sizeof *client);
	client->fd = -1;
	if (was_behind && !clients_are_behind())
		handler->relieved();
}

static void keep(struct client *client, const uint8_t *bytes, size_t size)
{
	uint8_t *more = realloc(client->kept, client->kept_size + size);
	if (!more) {
		/* It would get half a frame: better none at all. */
		shutdown(client->fd, SHUT_RDWR);
		return;
	}
	memcpy(more + client->kept_size, bytes, size);
	client->kept = more;
	client->kept_size += size;
	loop_want(client->fd, POLLIN | POLLOUT);
}

void client_send(struct client *client, uint32_t type, const void *payload, uint32_t size)
{
	struct frame head = { size, type, 0 };
	struct iovec parts[2] = { { &head, sizeof head }, { (void *)(uintptr_t)payload, size } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = size > 0 ? 2 : 1 };
	ssize_t n = client->kept_size > 0 ? 0 : sendmsg(client->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		return; /* it is gone: the loop will tell */
	size_t sent = n > 0 ? (size_t)n : 0;
	if (sent < sizeof head)
		keep(client, (uint8_t *)&head + sent, sizeof head - sent);
	size_t of_payload = sent > sizeof head ? sent - sizeof head : 0;
	if (of_payload < size)
		keep(client, (const uint8_t *)payload + of_payload, size - of_payload);
}

void clients_send(uint32_t attached, uint32_t type, const void *payload, uint32_t size)
{
	for (struct client *c = clients_next(NULL, attached); c; c = clients_next(c, attached))
		client_send(c, type, payload, size);
}

static void send_kept(struct client *client)
{
	ssize_t n = send(client->fd, client->kept, client->kept_size, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n <= 0)
		return;
	memmove(client->kept, client->kept + n, client->kept_size - (size_t)n);
	client->kept_size -= (size_t)n;
	if (client->kept_size > 0)
		return;
	free(client->kept);
	client->kept = NULL;
	loop_want(client->fd, POLLIN);
	if (!clients_are_behind())
		handler->relieved();
}

/* 1: a frame is complete; 0: not yet; -1: the client is gone or speaks nonsense. */
static int receive(struct client *client)
{
	const size_t head_size = sizeof client->head;
	int in_head = client->received < head_size;
	uint8_t *into = in_head ? (uint8_t *)&client->head + client->received : client->payload + (client->received - head_size);
	size_t want = in_head ? head_size - client->received : head_size + client->head.length - client->received;
	ssize_t n = want == 0 ? 0 : recv(client->fd, into, want, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	if (n == 0 && want > 0)
		return -1;
	client->received += (size_t)n;
	if (in_head && client->received == head_size) {
		if (client->head.length > MAX_CLIENT_FRAME)
			return -1;
		client->payload = malloc(client->head.length + 1);
		if (!client->payload)
			return -1;
	}
	return client->received >= head_size && client->received == head_size + client->head.length;
}

static void client_ready(void *owner, short revents)
{
	struct client *client = owner;
	if (revents & POLLOUT)
		send_kept(client);
	if (client->fd < 0 || !(revents & (POLLIN | POLLHUP | POLLERR)))
		return;
	int complete;
	/* Several at a time, so that what was sent together is done together; not for ever, others wait too. */
	for (int i = 0; i < 64 && (complete = receive(client)) != 0; i++) {
		if (complete < 0) {
			client_drop(client);
			return;
		}
		uint8_t *payload = client->payload;
		client->payload = NULL;
		client->received = 0;
		handler->frame(client, client->head.type, payload, client->head.length);
		free(payload);
		if (client->fd < 0)
			return;
	}
}

struct client *client_add(int fd, const struct client_handler *with)
{
	handler = with;
	for (int i = 0; i < MAX_CLIENTS && !is_initialized; i++)
		clients[i].fd = -1;
	is_initialized = 1;
	for (int i = 0; i < MAX_CLIENTS; i++) {
		struct client *client = &clients[i];
		if (client->fd >= 0)
			continue;
		memset(client, 0, sizeof *client);
		client->fd = -1;
		if (loop_watch(fd, POLLIN, client_ready, client) < 0)
			break;
		client->fd = fd;
		return client;
	}
	close(fd);
	return NULL;
}

/* why: the directory lets nobody else in; a socket that was passed on or a wrong mode would. */
static int is_friend(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof peer;
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && (peer.uid == 0 || peer.uid == geteuid());
}

static void listener_ready(void *owner, short revents)
{
	(void)owner;
	(void)revents;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	if (is_friend(fd))
		client_add(fd, handler);
	else
		close(fd);
}

int clients_listen(int directory, const struct client_handler *with)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	handler = with;
	/* why: a state root may lie deeper than the 108 bytes that an address takes. */
	snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/ctl.sock", directory);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener < 0)
		return -1;
	unlinkat(directory, "ctl.sock", 0);
	mode_t mask = umask(0177);
	int bound = bind(listener, (struct sockaddr *)&address, sizeof address);
	umask(mask);
	if (bound < 0 || listen(listener, 64) < 0 || loop_watch(listener, POLLIN, listener_ready, NULL) < 0)
		return -1;
	return 0;
}

void clients_stop_listening(int directory)
{
	if (listener < 0)
		return;
	unlinkat(directory, "ctl.sock", 0);
	loop_forget(listener);
	close(listener);
	listener = -1;
}

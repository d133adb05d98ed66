#include "loop.h"
#include <errno.h>
#include <poll.h>
#include <time.h>

struct watch {
	int fd;
	short events;
	loop_ready ready;
	void *owner;
};

static struct watch watches[LOOP_MAX];
static int count;

int loop_watch(int fd, short events, loop_ready ready, void *owner)
{
	if (count == LOOP_MAX) {
		errno = ENOSPC;
		return -1;
	}
	watches[count++] = (struct watch){ fd, events, ready, owner };
	return 0;
}

static int place_of(int fd)
{
	for (int i = 0; i < count; i++)
		if (watches[i].fd == fd)
			return i;
	return -1;
}

void loop_want(int fd, short events)
{
	int at = place_of(fd);
	if (at >= 0)
		watches[at].events = events;
}

void loop_forget(int fd)
{
	int at = place_of(fd);
	if (at >= 0)
		watches[at] = watches[--count];
}

void loop_once(int timeout_ms)
{
	struct pollfd polled[LOOP_MAX];
	int n = 0;
	for (int i = 0; i < count; i++)
		/* why: a descriptor that rests is left out, since a hang-up is told whether it was asked for or not. */
		if (watches[i].events)
			polled[n++] = (struct pollfd){ watches[i].fd, watches[i].events, 0 };
	if (poll(polled, (nfds_t)n, timeout_ms) <= 0)
		return;
	for (int i = 0; i < n; i++) {
		int at = polled[i].revents ? place_of(polled[i].fd) : -1;
		/* why: looked up again, since the functions before may have forgotten it or put it to rest. */
		if (at >= 0 && watches[at].events)
			watches[at].ready(watches[at].owner, polled[i].revents);
	}
}

int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

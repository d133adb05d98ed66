#include "relay.h"
#include "loop.h"
#include <poll.h>
#include <stddef.h>
#include <sys/epoll.h>

/* Events that are dealt with before others in the process have their turn. */
#define TURN 64

/* why not the loop of poll(2): its table is small, and its set may not be larger than the limit of descriptors. */
static int epoll_fd = -1;

int relay_want(struct source *source, uint32_t events)
{
	struct epoll_event event = { .events = events, .data = { .ptr = source } };
	if (events == source->wanted)
		return 0;
	/* why: who is registered is told of hang-ups whether it asked or not. */
	int how = events == 0 ? EPOLL_CTL_DEL : source->wanted == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
	source->wanted = events;
	return epoll_ctl(epoll_fd, how, source->fd, &event);
}

/* One at a time: what is freed for one event cannot be meant by the next. */
static void something_ready(void *owner, short revents)
{
	struct epoll_event event;
	(void)owner;
	(void)revents;
	for (int i = 0; i < TURN && epoll_wait(epoll_fd, &event, 1, 0) == 1; i++) {
		struct source *source = event.data.ptr;
		source->ready(source, event.events);
	}
}

int relay_begin(void)
{
	if (epoll_fd >= 0)
		return 0;
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return epoll_fd < 0 ? -1 : loop_watch(epoll_fd, POLLIN, something_ready, NULL);
}

/*
 * A network link with a delay and a rate, for kernels without netem: two TUN devices, and what comes out of one goes
 * into the other as late as it would.
 *
 *   link NAME NAME DELAY_US RATE_BITS    prints "ready" when both devices are there; ends with its standard input
 *
 * Each direction is a queue: a packet leaves when the one before it has left and its bits are through, and arrives
 * the delay later. What does not fit the queue is lost, as on a real link.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define QUEUE 4096
#define PACKET 2048

struct packet {
	int64_t at;
	int size;
	uint8_t bytes[PACKET];
};

struct direction {
	int from, to;
	int64_t free; /* when the line is free again */
	unsigned head, tail;
	struct packet *packets;
};

static int64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int open_tun(const char *name)
{
	struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || strlen(name) >= IFNAMSIZ)
		return -1;
	strcpy(request.ifr_name, name);
	return ioctl(fd, TUNSETIFF, &request) < 0 ? -1 : fd;
}

static void take(struct direction *d, int64_t delay, int64_t rate)
{
	for (;;) {
		struct packet dropped, *p = d->tail - d->head == QUEUE ? &dropped : &d->packets[d->tail % QUEUE];
		ssize_t size = read(d->from, p->bytes, PACKET);
		if (size <= 0)
			return;
		if (p == &dropped)
			continue;
		int64_t begin = now() > d->free ? now() : d->free;
		d->free = begin + size * 8 * 1000000000 / rate;
		p->at = d->free + delay;
		p->size = (int)size;
		d->tail += 1;
	}
}

static void give(struct direction *d)
{
	for (; d->head != d->tail && d->packets[d->head % QUEUE].at <= now(); d->head += 1) {
		struct packet *p = &d->packets[d->head % QUEUE];
		if (write(d->to, p->bytes, (size_t)p->size) < 0 && errno == EAGAIN)
			return;
	}
}

static int64_t next(const struct direction *d, int64_t before)
{
	if (d->head == d->tail)
		return before;
	int64_t at = d->packets[d->head % QUEUE].at;
	return before < 0 || at < before ? at : before;
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	int a = open_tun(argv[1]), b = open_tun(argv[2]);
	int64_t delay = atoll(argv[3]) * 1000, rate = atoll(argv[4]);
	struct direction d[2] = {{.from = a, .to = b}, {.from = b, .to = a}};
	for (int i = 0; i < 2; i++)
		d[i].packets = calloc(QUEUE, sizeof(struct packet));
	if (a < 0 || b < 0 || rate <= 0 || !d[0].packets || !d[1].packets) {
		perror("link");
		return 1;
	}
	puts("ready");
	fflush(stdout);
	for (;;) {
		struct pollfd fds[3] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}, {.fd = 0}};
		int64_t at = next(&d[1], next(&d[0], -1)), left = at - now();
		struct timespec wait = {.tv_sec = 0, .tv_nsec = left > 0 ? left % 1000000000 : 0};
		if (ppoll(fds, 3, at < 0 ? NULL : &wait, NULL) < 0 && errno != EINTR)
			return 1;
		if (fds[2].revents & POLLHUP)
			return 0;
		for (int i = 0; i < 2; i++) {
			take(&d[i], delay, rate);
			give(&d[i]);
		}
	}
}

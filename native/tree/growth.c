#include "growth.h"
#include "tree.h"
#include <errno.h>
#include <unistd.h>

static struct {
	pthread_mutex_t lock;
	pthread_cond_t more;
	int pipe;
	/* GROWTH_END and more: it has ended. */
	uint64_t size;
} growth = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.more = PTHREAD_COND_INITIALIZER,
	.size = GROWTH_END,
};

/* 0 at the end of the pipe. */
static int read_size(uint64_t *size)
{
	for (size_t got = 0; got < sizeof *size;) {
		ssize_t n = read(growth.pipe, (char *)size + got, sizeof *size - got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			fail(errno, "reading how long the layer is");
		if (n == 0)
			return 0;
		got += (size_t)n;
	}
	return 1;
}

static void *listen_to_pipe(void *unused)
{
	(void)unused;
	uint64_t size;
	do {
		if (!read_size(&size))
			fail(0, "the layer was given up");
		pthread_mutex_lock(&growth.lock);
		growth.size = size;
		pthread_cond_broadcast(&growth.more);
		pthread_mutex_unlock(&growth.lock);
	} while (size < GROWTH_END);
	return NULL;
}

void growth_begin(int pipe)
{
	pthread_t thread;
	growth.pipe = pipe;
	growth.size = 0;
	start_thread(&thread, listen_to_pipe, NULL);
}

void growth_await(uint64_t bytes)
{
	pthread_mutex_lock(&growth.lock);
	while (growth.size < bytes)
		pthread_cond_wait(&growth.more, &growth.lock);
	pthread_mutex_unlock(&growth.lock);
}

void growth_await_end(void)
{
	growth_await(GROWTH_END);
}

/* Answers out, and what jobs share. */
#include "tree.h"
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define ANSWER_FD 4

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static int write_vector(int fd, struct iovec *vector, int count)
{
	while (count > 0) {
		ssize_t n = writev(fd, vector, count);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		while (count > 0 && (size_t)n >= vector->iov_len) {
			n -= (ssize_t)vector->iov_len;
			vector++;
			count--;
		}
		if (count > 0) {
			vector->iov_base = (char *)vector->iov_base + n;
			vector->iov_len -= (size_t)n;
		}
	}
	return 0;
}

void answer(enum answer type, const void *payload, size_t size)
{
	uint32_t head[3] = { (uint32_t)size, type, 0 };
	struct iovec vector[2] = { { head, sizeof head }, { (void *)payload, size } };
	pthread_mutex_lock(&one_at_a_time);
	int failed = write_vector(ANSWER_FD, vector, size > 0 ? 2 : 1);
	pthread_mutex_unlock(&one_at_a_time);
	/* Nobody listens any more. */
	if (failed)
		_exit(1);
}

void done(const void *payload, size_t size)
{
	answer(ANSWER_DONE, payload, size);
	_exit(0);
}

void fail(int error, const char *format, ...)
{
	char payload[1028];
	uint32_t number = (uint32_t)error;
	va_list list;
	memcpy(payload, &number, sizeof number);
	va_start(list, format);
	int length = vsnprintf(payload + 4, sizeof payload - 4, format, list);
	va_end(list);
	size_t text = length < 0 ? 0 : (size_t)length < sizeof payload - 5 ? (size_t)length : sizeof payload - 5;
	answer(ANSWER_FAILED, payload, 4 + text);
	_exit(1);
}

void write_all(int fd, const void *bytes, size_t size, const char *what)
{
	if (write_vector(fd, &(struct iovec){ (void *)bytes, size }, 1) < 0)
		fail(errno, "%s", what);
}

void *allocate(size_t size)
{
	void *memory = malloc(size ? size : 1);
	if (!memory)
		fail(ENOMEM, "memory");
	return memory;
}

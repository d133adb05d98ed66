/* What the jobs of tree/ call of tree/answer.c, for one parser on its own: a refusal ends the input, not the process. */
#ifndef TSB_TREE_STAND_IN_H
#define TSB_TREE_STAND_IN_H
#include "../tree/tree.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static jmp_buf refused;
static char refusal[1024];

void fail(int error, const char *format, ...)
{
	(void)error;
	va_list list;
	va_start(list, format);
	vsnprintf(refusal, sizeof refusal, format, list);
	va_end(list);
	longjmp(refused, 1);
}

void *allocate(size_t size)
{
	void *memory = malloc(size ? size : 1);
	if (!memory)
		abort();
	return memory;
}

/* A file of these bytes, read from its start. */
static inline int file_of(const uint8_t *bytes, size_t size)
{
	int fd = memfd_create("input", MFD_CLOEXEC);
	if (fd < 0 || (size > 0 && pwrite(fd, bytes, size, 0) != (ssize_t)size))
		abort();
	return fd;
}

#endif

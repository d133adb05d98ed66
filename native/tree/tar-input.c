#include "tar-input.h"
#include "tree.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * What is skipped is read all the same where it is less than this: a system call of its own for every small file costs
 * more than copying them.
 */
#define WINDOW ((size_t)256 << 10)

void input_open(struct tar_input *in, int fd, struct sha256 *hash)
{
	struct stat st;
	off_t from = -1;
	*in = (struct tar_input){ .fd = fd, .hash = hash };
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		from = lseek(fd, 0, SEEK_CUR);
	if (from >= 0 && st.st_size > from)
		in->size = (uint64_t)(st.st_size - from);
	if (from >= 0)
		posix_fadvise(fd, from, 0, POSIX_FADV_SEQUENTIAL);
}

void input_close(struct tar_input *in)
{
	free(in->buffer);
	in->buffer = NULL;
}

/* What is left moves to the front of a buffer with room for `target` bytes. */
static void make_room(struct tar_input *in, size_t target)
{
	uint8_t *buffer = in->buffer;
	if (target > in->room) {
		buffer = allocate(target);
		in->room = target;
	}
	in->end -= in->at;
	if (in->end > 0)
		memmove(buffer, in->buffer + in->at, in->end);
	in->at = 0;
	if (buffer != in->buffer)
		free(in->buffer);
	in->buffer = buffer;
}

static size_t target_of(const struct tar_input *in, size_t want)
{
	/* One byte more than there is, which is how the end shows. */
	uint64_t left = in->size > in->position ? in->size - in->position + 1 : want;
	size_t target = left < WINDOW ? (size_t)left : WINDOW;
	target = target > want ? target : want;
	return target > INPUT_MAX ? INPUT_MAX : target;
}

static void fill(struct tar_input *in, size_t want)
{
	size_t target = target_of(in, want);
	make_room(in, target);
	while (in->end < want && !in->is_over) {
		ssize_t n = read(in->fd, in->buffer + in->end, target - in->end);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			fail(errno, "reading the archive");
		if (in->hash)
			sha256_add(in->hash, in->buffer + in->end, (size_t)n);
		in->end += (size_t)n;
		in->is_over = n == 0;
	}
}

size_t input_peek(struct tar_input *in, size_t want, const uint8_t **bytes)
{
	if (in->end - in->at < want)
		fill(in, want);
	*bytes = in->buffer + in->at;
	return in->end - in->at;
}

void input_consume(struct tar_input *in, size_t size)
{
	in->at += size;
	in->position += size;
}

/* Past what is in the buffer, in a file whose size is known. */
static int jump(struct tar_input *in, uint64_t size)
{
	if (in->position > in->size || size > in->size - in->position)
		return 0;
	if (lseek(in->fd, (off_t)size, SEEK_CUR) < 0)
		fail(errno, "reading the archive");
	in->position += size;
	return 1;
}

int input_skip(struct tar_input *in, uint64_t size)
{
	while (size > 0) {
		size_t left = in->end - in->at;
		if (left == 0 && size >= WINDOW && in->size > 0 && !in->hash)
			return jump(in, size);
		if (left == 0)
			fill(in, 1);
		left = in->end - in->at;
		if (left == 0)
			return 0;
		size_t part = size < left ? (size_t)size : left;
		input_consume(in, part);
		size -= part;
	}
	return 1;
}

void input_drain(struct tar_input *in)
{
	while (in->hash && !in->is_over) {
		in->at = in->end = 0;
		fill(in, 1);
	}
}

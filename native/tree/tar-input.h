/* The bytes of an archive, from the front; those that nobody wants are not read where that is possible. */
#ifndef TSB_TAR_INPUT_H
#define TSB_TAR_INPUT_H
#include "sha256.h"
#include <stddef.h>
#include <stdint.h>

struct tar_input {
	int fd;
	struct sha256 *hash; /* of all bytes, or NULL */
	uint8_t *buffer;
	size_t room;         /* bytes of the buffer */
	size_t at, end;      /* what of the buffer is not consumed yet */
	uint64_t position;   /* in the archive, of what comes next */
	uint64_t size;       /* of a regular file, 0 where it is none or grows */
	int is_over;
};

/* `fd` stays the caller's; a regular file is read from where it stands. */
void input_open(struct tar_input *in, int fd, struct sha256 *hash);
void input_close(struct tar_input *in);

/* At least `want` bytes (at most INPUT_MAX), as many as there are at hand; fewer than `want` at the end alone. */
size_t input_peek(struct tar_input *in, size_t want, const uint8_t **bytes);
/* Of what was peeked. */
void input_consume(struct tar_input *in, size_t size);
/* 0 where the archive ends before. */
int input_skip(struct tar_input *in, uint64_t size);
/* To the end, for the hash. */
void input_drain(struct tar_input *in);

#define INPUT_MAX ((size_t)2 << 20)

#endif

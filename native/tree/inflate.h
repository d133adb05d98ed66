/*
 * DEFLATE (RFC 1951), decoded as it streams by. Input and output are windows of buffers that callbacks move on; what
 * comes from outside is hostile: no input leaves these windows, whatever it says.
 */
#ifndef TSB_INFLATE_H
#define TSB_INFLATE_H
#include <stddef.h>
#include <stdint.h>

/* How far back a match may reach. */
#define INFLATE_WINDOW (32U << 10)
/* Bytes before `at` that must stay readable when more() moves on: the decoder reads ahead and gives back. */
#define INPUT_KEPT 8
/* Bytes after `end` of the output that may be written over. */
#define OUTPUT_SLACK 512

struct input {
	const uint8_t *at, *end;
	/* Brings more: at < end afterwards, and INPUT_KEPT bytes before `at` are those that were there. 0 at the end. */
	int (*more)(struct input *in);
};

struct output {
	/* `start`: of what matches may reach back to. */
	uint8_t *start, *at, *end;
	/* Takes what was written since, makes room: at < end afterwards. The last INFLATE_WINDOW bytes stay before `at`. */
	void (*flush)(struct output *out);
};

/* NULL, or what is wrong. `in` stands after the last byte of the stream, `out->start` was its first byte at first. */
const char *inflate(struct input *in, struct output *out);

#endif

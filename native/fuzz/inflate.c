/* The decoder of gzip, with buffers that end everywhere: the first byte says how large they are. */
#include "../tree/decompress.h"
#include "fuzz.h"

#define MOST (1 << 20)

static const uint8_t *rest;
static size_t left, piece, made;
static uint8_t *room;

/* A piece of its own each time, with what must be kept before it. */
static int more(struct input *in)
{
	static uint8_t *buffer;
	uint8_t kept[INPUT_KEPT] = { 0 };
	if (in->end)
		memcpy(kept, in->end - INPUT_KEPT, INPUT_KEPT);
	free(buffer);
	size_t size = left < piece ? left : piece;
	buffer = malloc(INPUT_KEPT + size);
	if (!buffer)
		abort();
	memcpy(buffer, kept, INPUT_KEPT);
	memcpy(buffer + INPUT_KEPT, rest, size);
	rest += size;
	left -= size;
	in->at = buffer + INPUT_KEPT;
	in->end = in->at + size;
	return size > 0;
}

static void flush(struct output *out)
{
	size_t reach = (size_t)(out->at - out->start);
	if (reach > INFLATE_WINDOW)
		reach = INFLATE_WINDOW;
	made += piece;
	uint8_t *next = malloc(INFLATE_WINDOW + piece + OUTPUT_SLACK);
	if (!next)
		abort();
	memcpy(next + INFLATE_WINDOW - reach, out->at - reach, reach);
	free(room);
	room = next;
	out->at = next + INFLATE_WINDOW;
	out->start = out->at - reach;
	out->end = out->at + piece;
	/* Enough was seen of a stream that grows and grows. */
	if (made > MOST)
		left = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	if (size == 0)
		return 0;
	piece = 1 + bytes[0] * 3;
	rest = bytes + 1;
	left = size - 1;
	made = 0;
	room = malloc(INFLATE_WINDOW + piece + OUTPUT_SLACK);
	if (!room)
		abort();
	struct input in = { .more = more };
	struct output out = { room + INFLATE_WINDOW, room + INFLATE_WINDOW, room + INFLATE_WINDOW + piece, flush };
	decode_gzip(&in, &out);
	free(room);
	return 0;
}

/* Requests in: read from the front, a read past the end leaves a mark. */
#include "tree.h"
#include <string.h>

static const uint8_t *take(struct request *r, size_t size)
{
	if (r->bad || (size_t)(r->end - r->at) < size) {
		r->bad = 1;
		return NULL;
	}
	const uint8_t *bytes = r->at;
	r->at += size;
	return bytes;
}

uint32_t take_u32(struct request *r)
{
	uint32_t value = 0;
	const uint8_t *bytes = take(r, sizeof value);
	if (bytes)
		memcpy(&value, bytes, sizeof value);
	return value;
}

uint64_t take_u64(struct request *r)
{
	uint64_t value = 0;
	const uint8_t *bytes = take(r, sizeof value);
	if (bytes)
		memcpy(&value, bytes, sizeof value);
	return value;
}

const uint8_t *take_bytes(struct request *r, uint32_t *size)
{
	*size = take_u32(r);
	const uint8_t *bytes = take(r, *size);
	if (!bytes)
		*size = 0;
	return bytes;
}

char *take_string(struct request *r, uint32_t max)
{
	uint32_t size;
	const uint8_t *bytes = take_bytes(r, &size);
	if (!bytes || size > max || memchr(bytes, 0, size)) {
		r->bad = 1;
		return NULL;
	}
	char *text = allocate((size_t)size + 1);
	memcpy(text, bytes, size);
	text[size] = 0;
	return text;
}

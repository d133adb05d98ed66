/*
 * gzip by libdeflate: each block is a member (RFC 1952) that says its own size in an extra field, so that whoever
 * knows it can decompress the members side by side; everybody else passes over it.
 */
#include "compress.h"
#ifdef HAVE_LIBDEFLATE
#include "gzip-member.h"
#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>

#define SLICES 8
#define SLICE (8 << 10)

struct gzip {
	struct libdeflate_compressor *deflate, *probe, *store;
	uint8_t slice[SLICE + 64];
};

static void *gzip_open(int level)
{
	struct gzip *g = calloc(1, sizeof *g);
	if (!g)
		return NULL;
	g->deflate = libdeflate_alloc_compressor(level);
	g->probe = libdeflate_alloc_compressor(1);
	g->store = libdeflate_alloc_compressor(0);
	return g->deflate && g->probe && g->store ? g : NULL;
}

static size_t gzip_bound(size_t size)
{
	/* Stored blocks of deflate, 5 bytes for each 5000 at the very least (libdeflate's own bound), and our frame. */
	return size + size / 512 + 64 + GZIP_HEAD + GZIP_TAIL;
}

static size_t gzip_memory(int level)
{
	return level >= 10 ? 10 << 20 : 2 << 20;
}

/*
 * Whether it is worth the search for matches: samples of what is compressed or encrypted already do not shrink. A
 * function of the bytes alone, as everything here.
 */
static int is_dense(struct gzip *g, const uint8_t *in, size_t size)
{
	if (size < 2 * SLICES * SLICE)
		return 0;
	size_t total = 0;
	for (size_t i = 0; i < SLICES; i++) {
		const uint8_t *at = in + (size / SLICES) * i + (size / SLICES - SLICE) / 2;
		size_t made = libdeflate_deflate_compress(g->probe, at, SLICE, g->slice, sizeof g->slice);
		total += made ? made : SLICE;
	}
	return total >= SLICES * SLICE - SLICES * SLICE / 100;
}

static void put32(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

static size_t gzip_compress(void *state, const uint8_t *in, size_t size, uint8_t *out, size_t room)
{
	/* ID, method, FEXTRA, no time, no hint, unknown system; 8 bytes of extra field: "TB", 4 bytes, the member's size. */
	static const uint8_t head[GZIP_HEAD] = { 0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 8, 0, 'T', 'B', 4, 0 };
	struct gzip *g = state;
	if (room < GZIP_HEAD + GZIP_TAIL)
		return 0;
	struct libdeflate_compressor *with = is_dense(g, in, size) ? g->store : g->deflate;
	size_t made = libdeflate_deflate_compress(with, in, size, out + GZIP_HEAD, room - GZIP_HEAD - GZIP_TAIL);
	if (made == 0)
		return 0;
	size_t whole = GZIP_HEAD + made + GZIP_TAIL;
	memcpy(out, head, sizeof head);
	put32(out + GZIP_HEAD - 4, (uint32_t)whole);
	put32(out + GZIP_HEAD + made, libdeflate_crc32(0, in, size));
	put32(out + GZIP_HEAD + made + 4, (uint32_t)size);
	return whole;
}

static const struct codec codec = {
	.block = GZIP_BLOCK,
	.level_min = 0,
	.level_max = 9,
	.engine = "libdeflate-" LIBDEFLATE_VERSION_STRING,
	.open = gzip_open,
	.bound = gzip_bound,
	.memory = gzip_memory,
	.compress = gzip_compress,
};
#endif

const struct codec *gzip_codec(void)
{
#ifdef HAVE_LIBDEFLATE
	return &codec;
#else
	return NULL;
#endif
}

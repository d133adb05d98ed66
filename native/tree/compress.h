/* Compression of a layer in blocks, each on its own, so that the bytes do not depend on who makes them. */
#ifndef TSB_COMPRESS_H
#define TSB_COMPRESS_H
#include <stddef.h>
#include <stdint.h>

struct codec {
	/* Bytes of input a block; the last one may be shorter, and that of an empty input is empty. */
	size_t block;
	int level_min, level_max;
	/* Library and version: other ones make other bytes. */
	const char *engine;
	/* One a thread; NULL where memory lacks. */
	void *(*open)(int level);
	/* At most so many bytes come out of a block. */
	size_t (*bound)(size_t size);
	/* What open() takes, about. */
	size_t (*memory)(int level);
	/* Size of the compressed block, which ends by itself; 0: it failed. */
	size_t (*compress)(void *state, const uint8_t *in, size_t size, uint8_t *out, size_t room);
};

/* NULL where the library was not there when this was built. */
const struct codec *gzip_codec(void);
const struct codec *zstd_codec(void);

#endif

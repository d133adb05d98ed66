/* zstd by libzstd: each block is a frame of its own (RFC 8878), with its size and a checksum. */
#include "compress.h"
#ifdef HAVE_LIBZSTD
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

static void *zstd_open(int level)
{
	ZSTD_CCtx *context = ZSTD_createCCtx();
	if (!context)
		return NULL;
	ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
	ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
	return context;
}

static size_t zstd_memory(int level)
{
	return ZSTD_estimateCCtxSize(level);
}

static size_t zstd_compress(void *state, const uint8_t *in, size_t size, uint8_t *out, size_t room)
{
	size_t made = ZSTD_compress2(state, out, room, in, size);
	return ZSTD_isError(made) ? 0 : made;
}

static const struct codec codec = {
	.block = 4 << 20,
	.level_min = 1,
	.level_max = 22,
	.engine = "libzstd-" ZSTD_VERSION_STRING,
	.open = zstd_open,
	.bound = ZSTD_compressBound,
	.memory = zstd_memory,
	.compress = zstd_compress,
};
#endif

const struct codec *zstd_codec(void)
{
#ifdef HAVE_LIBZSTD
	return &codec;
#else
	return NULL;
#endif
}

/* Decoders of decompress.c: all of the input, to the output. NULL, or what is wrong with the input. */
#ifndef TSB_DECOMPRESS_H
#define TSB_DECOMPRESS_H
#include "inflate.h"

const char *decode_gzip(struct input *in, struct output *out);
/* fail() with ENOSYS where the library was not there when this was built. */
const char *decode_zstd(struct input *in, struct output *out);

#endif

/* zstd by libzstd: any number of frames, those to be skipped too. */
#include "decompress.h"
#include "tree.h"
#include <errno.h>
#ifdef HAVE_LIBZSTD
#include <zstd.h>

/* As zstd(1) has it unless it is told otherwise: 128 MiB, taken only where a frame asks for as much. */
#define MAX_WINDOW_LOG 27

const char *decode_zstd(struct input *in, struct output *out)
{
	ZSTD_DCtx *context = ZSTD_createDCtx();
	if (!context)
		fail(ENOMEM, "memory");
	ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, MAX_WINDOW_LOG);
	size_t wanted = 0;
	while (in->at < in->end || in->more(in)) {
		ZSTD_inBuffer from = { in->at, (size_t)(in->end - in->at), 0 };
		/* More may be waiting inside than there was room for; not after the end of a frame. */
		int is_waiting;
		do {
			if (out->at == out->end)
				out->flush(out);
			ZSTD_outBuffer to = { out->at, (size_t)(out->end - out->at), 0 };
			wanted = ZSTD_decompressStream(context, &to, &from);
			if (ZSTD_isError(wanted))
				return "the zstd stream is damaged";
			out->at += to.pos;
			is_waiting = to.pos == to.size && wanted > 0;
		} while (from.pos < from.size || is_waiting);
		in->at = in->end;
	}
	return wanted == 0 ? NULL : "the zstd stream ends too early";
}
#else
const char *decode_zstd(struct input *in, struct output *out)
{
	(void)in;
	(void)out;
	fail(ENOSYS, "zstd");
}
#endif

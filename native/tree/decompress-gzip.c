/*
 * gzip (RFC 1952): any number of members, each with its own window; zeros may follow the last, as tapes have them.
 * Checksums are passed over: whoever keeps the output compares its SHA-256.
 */
#include "decompress.h"

#define FLAG_CHECKSUM 2
#define FLAG_EXTRA 4
#define FLAG_NAME 8
#define FLAG_COMMENT 16

static const char no_gzip[] = "what follows a gzip member is none", cut[] = "the gzip stream ends too early";

/* The next byte, -1 at the end. */
static int next(struct input *in)
{
	return in->at == in->end && !in->more(in) ? -1 : *in->at++;
}

static int skip(struct input *in, unsigned count)
{
	for (; count > 0; count--)
		if (next(in) < 0)
			return 0;
	return 1;
}

static int skip_text(struct input *in)
{
	int byte;
	do
		byte = next(in);
	while (byte > 0);
	return byte == 0;
}

/* After the two bytes of identification. */
static const char *read_head(struct input *in)
{
	int method = next(in), flags = next(in);
	if (!skip(in, 6))
		return cut;
	if (method != 8 || flags & 0xe0)
		return "the gzip stream is of an unknown kind";
	if (flags & FLAG_EXTRA) {
		int low = next(in), high = next(in);
		if (high < 0 || !skip(in, (unsigned)(low | high << 8)))
			return cut;
	}
	if ((flags & FLAG_NAME && !skip_text(in)) || (flags & FLAG_COMMENT && !skip_text(in)))
		return cut;
	return flags & FLAG_CHECKSUM && !skip(in, 2) ? cut : NULL;
}

static const char *skip_zeros(struct input *in)
{
	int byte;
	while ((byte = next(in)) == 0)
		;
	return byte < 0 ? NULL : no_gzip;
}

const char *decode_gzip(struct input *in, struct output *out)
{
	for (int members = 0;; members++) {
		int first = next(in);
		if (first < 0 && members > 0)
			return NULL;
		if (first == 0 && members > 0)
			return skip_zeros(in);
		if (first != 0x1f || next(in) != 0x8b)
			return no_gzip;
		const char *wrong = read_head(in);
		if (wrong)
			return wrong;
		out->start = out->at;
		wrong = inflate(in, out);
		if (wrong)
			return wrong;
		if (!skip(in, 8))
			return cut;
	}
}

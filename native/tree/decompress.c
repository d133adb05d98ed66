/*
 * decompress: u32 whether the compressed bytes are kept; descriptors: they, from where it stands; a file for what they
 * become; a file for themselves, if they are kept. gzip and zstd are known by their first bytes; everything else is
 * taken as it is. DONE: 32 bytes SHA-256 and u64 size of what came in, the same of what came out. A damaged stream is
 * EBADMSG.
 *
 * One thread reads and digests, the first one decompresses, one digests and writes.
 */
#include "decompress.h"
#include "chunks.h"
#include "sha256.h"
#include "tree.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define CHUNK (256U << 10)
#define IN_FD FIRST_FD
#define OUT_FD (FIRST_FD + 1)
#define KEPT_FD (FIRST_FD + 2)

struct side {
	struct chunks chunks;
	struct sha256 digest;
};

static struct side from, to;
static int is_kept;

/* As much as fills a chunk, less at the end alone: pipes give little at a time. */
static size_t fill(uint8_t *bytes)
{
	size_t got = 0;
	while (got < CHUNK) {
		ssize_t n = read(IN_FD, bytes + got, CHUNK - got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			fail(errno, "reading a layer");
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return got;
}

static void *read_all(void *unused)
{
	(void)unused;
	for (;;) {
		struct chunk *chunk = chunks_fill(&from.chunks);
		chunk->size = fill(chunk->data);
		if (chunk->size == 0)
			break;
		sha256_add(&from.digest, chunk->data, chunk->size);
		if (is_kept)
			write_all(KEPT_FD, chunk->data, chunk->size, "keeping a layer");
		int is_last = chunk->size < CHUNK;
		chunks_give(&from.chunks);
		if (is_last)
			break;
	}
	chunks_end(&from.chunks);
	return NULL;
}

static void *write_out(void *unused)
{
	(void)unused;
	for (struct chunk *chunk; (chunk = chunks_take(&to.chunks)); chunks_free(&to.chunks)) {
		sha256_add(&to.digest, chunk->data, chunk->size);
		write_all(OUT_FD, chunk->data, chunk->size, "writing a layer");
	}
	return NULL;
}

static int more_input(struct input *in)
{
	/* At the end it is asked again and again, and bytes before it may be given back. */
	static uint8_t last[INPUT_KEPT];
	static int is_held;
	uint8_t kept[INPUT_KEPT] = { 0 };
	if (in->end)
		memcpy(kept, in->end - INPUT_KEPT, INPUT_KEPT);
	if (is_held)
		chunks_free(&from.chunks);
	struct chunk *chunk = chunks_take(&from.chunks);
	is_held = chunk != NULL;
	uint8_t *data = chunk ? chunk->data : last + INPUT_KEPT;
	memcpy(data - INPUT_KEPT, kept, INPUT_KEPT);
	in->at = data;
	in->end = data + (chunk ? chunk->size : 0);
	return is_held;
}

static struct chunk *filling;

static void next_chunk(struct output *out)
{
	filling = chunks_fill(&to.chunks);
	out->at = filling->data;
	out->end = filling->data + CHUNK;
}

static void hand_on(struct output *out)
{
	filling->size = (size_t)(out->at - filling->data);
	chunks_give(&to.chunks);
}

static void flush(struct output *out)
{
	const uint8_t *end = out->at;
	size_t reach = (size_t)(out->at - out->start);
	if (reach > INFLATE_WINDOW)
		reach = INFLATE_WINDOW;
	hand_on(out);
	/* What was handed on stays as it is until it is filled again, and that happens here. */
	next_chunk(out);
	memcpy(out->at - reach, end - reach, reach);
	out->start = out->at - reach;
}

static const char *copy_all(struct input *in, struct output *out)
{
	do {
		while (in->at < in->end) {
			if (out->at == out->end)
				flush(out);
			size_t part = (size_t)(in->end - in->at), room = (size_t)(out->end - out->at);
			if (part > room)
				part = room;
			memcpy(out->at, in->at, part);
			out->at += part;
			in->at += part;
		}
	} while (in->more(in));
	return NULL;
}

/* Frames that are skipped may come first. */
static int is_zstd(const uint8_t *at)
{
	static const uint8_t frame[4] = { 0x28, 0xb5, 0x2f, 0xfd }, skipped[3] = { 0x2a, 0x4d, 0x18 };
	return memcmp(at, frame, 4) == 0 || (at[0] >> 4 == 5 && memcmp(at + 1, skipped, 3) == 0);
}

static const char *decode(struct input *in, struct output *out)
{
	if (!in->more(in))
		return NULL;
	if (in->end - in->at >= 4 && is_zstd(in->at))
		return decode_zstd(in, out);
	if (in->end - in->at >= 2 && in->at[0] == 0x1f && in->at[1] == 0x8b)
		return decode_gzip(in, out);
	return copy_all(in, out);
}

static uint8_t *note(uint8_t *at, struct sha256 *digest)
{
	uint64_t size = digest->size;
	sha256_end(digest, at);
	memcpy(at + SHA256_SIZE, &size, sizeof size);
	return at + SHA256_SIZE + sizeof size;
}

void decompress_job(struct request *r)
{
	is_kept = take_u32(r) != 0;
	if (r->bad)
		fail(0, "the request is too short");
	descriptors(is_kept ? 3 : 2);
	chunks_open(&from.chunks, INPUT_KEPT, CHUNK, 0);
	chunks_open(&to.chunks, INFLATE_WINDOW, CHUNK, OUTPUT_SLACK);
	sha256_begin(&from.digest);
	sha256_begin(&to.digest);
	pthread_t reader, writer;
	start_thread(&reader, read_all, NULL);
	start_thread(&writer, write_out, NULL);
	struct input in = { .more = more_input };
	struct output out = { .flush = flush };
	next_chunk(&out);
	out.start = out.at;
	const char *wrong = decode(&in, &out);
	if (wrong)
		fail(EBADMSG, "cannot decompress a layer: %s", wrong);
	hand_on(&out);
	chunks_end(&to.chunks);
	pthread_join(writer, NULL);
	pthread_join(reader, NULL);
	uint8_t result[2 * (SHA256_SIZE + 8)];
	note(note(result, &from.digest), &to.digest);
	done(result, sizeof result);
}

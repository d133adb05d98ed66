#include "tar-read.h"
#include "tar-input.h"
#include "tar-meta.h"
#include "tree.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* PAX headers and GNU long names beyond this are refused. */
#define MAX_META ((int64_t)1 << 20)
/* Whoever unpacks remembers names: more of them than a machine has files would fill its memory. */
#define MAX_ENTRIES (1U << 21)
#define MAX_NAMES (1U << 29)

/* Where a header block has what. */
enum {
	AT_NAME = 0, AT_MODE = 100, AT_UID = 108, AT_GID = 116, AT_SIZE = 124, AT_MTIME = 136, AT_SUM = 148, AT_FLAG = 156,
	AT_LINK = 157, AT_MAGIC = 257, AT_MAJOR = 329, AT_MINOR = 337, AT_PREFIX = 345,
	NAME_SIZE = 100, ID_SIZE = 8, LONG_SIZE = 12, PREFIX_SIZE = 155,
};

struct tar_reader {
	struct tar_input input;
	struct tar_meta meta, ignored;
	uint64_t left, padding; /* of the current entry's content, of what follows it */
	uint32_t entries;
	uint64_t names;
	char path[TAR_MAX_PATH + 1], link[TAR_MAX_PATH + 1];
};

struct tar_reader *tar_open(int fd, struct sha256 *hash)
{
	struct tar_reader *t = allocate(sizeof *t);
	memset(t, 0, sizeof *t);
	input_open(&t->input, fd, hash);
	return t;
}

void tar_close(struct tar_reader *t)
{
	input_close(&t->input);
	meta_free(&t->meta);
	meta_free(&t->ignored);
	free(t);
}

static int is_zero(const uint8_t *block)
{
	return block[0] == 0 && memcmp(block, block + 1, TAR_BLOCK - 1) == 0;
}

static void check_sum(const uint8_t *block)
{
	int64_t sum = ID_SIZE * ' ', as_signed = sum;
	for (int i = 0; i < TAR_BLOCK; i++) {
		if (i >= AT_SUM && i < AT_SUM + ID_SIZE)
			continue;
		sum += block[i];
		as_signed += (int8_t)block[i];
	}
	int64_t stated = tar_number(block + AT_SUM, ID_SIZE);
	if (stated != sum && stated != as_signed)
		tar_refuse("a header with a wrong checksum");
}

static uint64_t padded(uint64_t size)
{
	return (size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
}

static void read_meta(struct tar_reader *t, char flag, int64_t size)
{
	const uint8_t *body;
	if (size > MAX_META)
		tar_refuse("an extended header of %lld bytes; at most %lld are read", (long long)size, (long long)MAX_META);
	size_t whole = (size_t)padded((uint64_t)size);
	size_t got = input_peek(&t->input, whole, &body);
	if (got < whole)
		tar_refuse(got == 0 ? "it ends inside an extended header" : "it ends in the middle of a header");
	if (flag == 'g') {
		/*
		 * why: a global header is for all that follows; only its harmless comment form exists in practice (git
		 * archive). It is read all the same, since a malformed one is refused.
		 */
		meta_pax(&t->ignored, body, (size_t)size);
		meta_clear(&t->ignored);
	} else if (flag == 'x')
		meta_pax(&t->meta, body, (size_t)size);
	else
		meta_long(&t->meta, flag, body, (size_t)size);
	input_consume(&t->input, whole);
}

/* Of a field that ends with a NUL or with its room. */
static size_t field(const uint8_t *block, int at, size_t room, char *out)
{
	size_t size = strnlen((const char *)block + at, room);
	memcpy(out, block + at, size);
	out[size] = 0;
	return size;
}

static size_t long_name(const struct tar_bytes *said, char *out)
{
	size_t size = said->size < TAR_MAX_PATH ? said->size : TAR_MAX_PATH;
	if (size > 0)
		memcpy(out, said->at, size);
	out[size] = 0;
	return said->size;
}

static size_t name_of(struct tar_reader *t, const uint8_t *block)
{
	if (t->meta.said & META_PATH)
		return long_name(&t->meta.path, t->path);
	/* GNU's own magic is "ustar  " and has no prefix. */
	size_t prefix = 0;
	if (memcmp(block + AT_MAGIC, "ustar", 5) == 0 && memcmp(block + AT_MAGIC + 5, "  ", 3) != 0)
		prefix = field(block, AT_PREFIX, PREFIX_SIZE, t->path);
	if (prefix > 0)
		t->path[prefix++] = '/';
	return prefix + field(block, AT_NAME, NAME_SIZE, t->path + prefix);
}

static enum tar_type type_of(struct tar_reader *t, char flag)
{
	char quoted[300], kind[24];
	switch (flag) {
	case '0':
	case 0:
	case '7':
		return TAR_FILE;
	case '1':
		return TAR_HARDLINK;
	case '2':
		return TAR_SYMLINK;
	case '3':
		return TAR_CHAR;
	case '4':
		return TAR_BLOCK_DEVICE;
	case '5':
		return TAR_DIRECTORY;
	case '6':
		return TAR_FIFO;
	}
	tar_refuse("entry %s has the unknown type %s", tar_quoted(t->path, strlen(t->path), quoted, sizeof quoted),
		   tar_quoted(&flag, 1, kind, sizeof kind));
}

static int64_t stated(uint32_t said, uint32_t which, int64_t value, const uint8_t *at, size_t size)
{
	return said & which ? value : tar_number(at, size);
}

static void take_entry(struct tar_reader *t, const uint8_t *block, int64_t size, struct tar_entry *e)
{
	const struct tar_meta *meta = &t->meta;
	char flag = (char)block[AT_FLAG];
	if (flag == 'S')
		tar_refuse_sparse();
	size_t path = name_of(t, block);
	enum tar_type type = type_of(t, flag);
	/* why: a file whose name ends in `/` is a directory, but its content lies in the archive all the same. */
	t->left = type == TAR_FILE ? (uint64_t)size : 0;
	t->padding = padded(t->left) - t->left;
	size_t link = meta->said & META_LINK ? long_name(&meta->link, t->link) : field(block, AT_LINK, NAME_SIZE, t->link);
	if (path > TAR_MAX_PATH || link > TAR_MAX_PATH)
		tar_refuse("a name of %zu bytes", path > link ? path : link);
	if (memchr(t->path, 0, path) || memchr(t->link, 0, link))
		tar_refuse("a name with a NUL byte");
	if (type == TAR_FILE && path > 0 && t->path[path - 1] == '/')
		type = TAR_DIRECTORY;
	if (type == TAR_HARDLINK)
		link = tar_confine(t->link);
	else if (type != TAR_SYMLINK)
		t->link[link = 0] = 0;
	int is_device = type == TAR_CHAR || type == TAR_BLOCK_DEVICE;
	*e = (struct tar_entry){
		.type = type,
		.path = t->path,
		.path_size = (uint32_t)tar_confine(t->path),
		.link = t->link,
		.link_size = (uint32_t)link,
		.mode = (uint32_t)tar_number(block + AT_MODE, ID_SIZE) & 07777,
		.uid = stated(meta->said, META_UID, meta->uid, block + AT_UID, ID_SIZE),
		.gid = stated(meta->said, META_GID, meta->gid, block + AT_GID, ID_SIZE),
		.size = type == TAR_FILE ? (uint64_t)size : 0,
		.mtime = stated(meta->said, META_MTIME, meta->mtime, block + AT_MTIME, LONG_SIZE),
		.major = is_device ? tar_number(block + AT_MAJOR, ID_SIZE) : 0,
		.minor = is_device ? tar_number(block + AT_MINOR, ID_SIZE) : 0,
		.xattrs = meta->xattrs,
		.xattr_count = meta->xattr_count,
	};
}

static _Noreturn void refuse_end(struct tar_reader *t)
{
	char quoted[300];
	tar_refuse("the archive ends inside %s", tar_quoted(t->path, strlen(t->path), quoted, sizeof quoted));
}

static void count(struct tar_reader *t, uint32_t path_size)
{
	t->names += path_size;
	if (++t->entries > MAX_ENTRIES)
		tar_refuse("more than %u entries", MAX_ENTRIES);
	if (t->names > MAX_NAMES)
		tar_refuse("more than %u bytes of names", MAX_NAMES);
}

int tar_next(struct tar_reader *t, struct tar_entry *e)
{
	const uint8_t *block;
	if (!input_skip(&t->input, t->left + t->padding))
		refuse_end(t);
	t->left = t->padding = 0;
	/* What was said is for one entry. */
	meta_clear(&t->meta);
	for (;;) {
		size_t got = input_peek(&t->input, TAR_BLOCK, &block);
		if (got > 0 && got < TAR_BLOCK)
			tar_refuse("it ends in the middle of a header");
		if (got == 0 || is_zero(block))
			break;
		check_sum(block);
		char flag = (char)block[AT_FLAG];
		int64_t size = stated(t->meta.said, META_SIZE, t->meta.size, block + AT_SIZE, LONG_SIZE);
		if (size < 0)
			tar_refuse("a negative size");
		if (flag != 'x' && flag != 'g' && flag != 'L' && flag != 'K' && flag != 'V') {
			take_entry(t, block, size, e);
			input_consume(&t->input, TAR_BLOCK);
			e->offset = t->input.position;
			count(t, e->path_size);
			return 1;
		}
		input_consume(&t->input, TAR_BLOCK);
		if (flag != 'V') {
			read_meta(t, flag, size);
			continue;
		}
		/* A volume label says nothing about files. */
		meta_clear(&t->meta);
		if (!input_skip(&t->input, padded((uint64_t)size)))
			break;
	}
	input_drain(&t->input);
	return 0;
}

size_t tar_content(struct tar_reader *t, const uint8_t **bytes)
{
	if (t->left == 0)
		return 0;
	size_t got = input_peek(&t->input, 1, bytes);
	if (got == 0)
		refuse_end(t);
	if (got > t->left)
		got = (size_t)t->left;
	input_consume(&t->input, got);
	t->left -= got;
	return got;
}

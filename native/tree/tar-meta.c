#include "tar-meta.h"
#include "tree.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XATTR "SCHILY.xattr."
/* Of what should be a number and is none. */
#define SHOWN_DIGITS 31

void tar_refuse(const char *format, ...)
{
	char text[512];
	va_list list;
	va_start(list, format);
	vsnprintf(text, sizeof text, format, list);
	va_end(list);
	fail(EBADMSG, "cannot read the archive: %s", text);
}

void tar_refuse_sparse(void)
{
	fail(TAR_IS_SPARSE, "cannot read the archive: a sparse file, which cannot be mounted where it lies");
}

static void keep(struct tar_bytes *bytes, const uint8_t *from, size_t size)
{
	if (size > bytes->room) {
		free(bytes->at);
		*bytes = (struct tar_bytes){ 0 };
		bytes->at = allocate(size);
		bytes->room = size;
	}
	if (size > 0)
		memcpy(bytes->at, from, size);
	bytes->size = size;
}

void meta_clear(struct tar_meta *meta)
{
	meta->said = 0;
	meta->xattr_count = 0;
}

void meta_free(struct tar_meta *meta)
{
	free(meta->path.at);
	free(meta->link.at);
	free(meta->xattr_body.at);
	free(meta->spare.at);
	free(meta->xattrs);
	*meta = (struct tar_meta){ 0 };
}

static int is_space(uint8_t byte)
{
	return byte == ' ' || (byte >= '\t' && byte <= '\r') || byte == 0xa0;
}

static int64_t base256(const uint8_t *field, size_t size)
{
	int64_t value = field[0] == 0xff ? -1 : field[0] & 0x7f;
	for (size_t i = 1; i < size; i++) {
		value = value * 256 + field[i];
		/* It only grows from here on. */
		if (value >= TAR_MAX_NUMBER || value <= -TAR_MAX_NUMBER)
			tar_refuse("a number that is too large");
	}
	return value;
}

int64_t tar_number(const uint8_t *field, size_t size)
{
	char quoted[256];
	if (field[0] >= 0x80)
		return base256(field, size);
	const uint8_t *end = memchr(field, 0, size);
	if (!end)
		end = field + size;
	while (field < end && is_space(*field))
		field++;
	while (field < end && is_space(end[-1]))
		end--;
	if (field == end)
		return 0;
	const int negative = *field == '-';
	int64_t value = 0;
	const uint8_t *digit = field + negative;
	for (; digit < end && *digit >= '0' && *digit <= '7'; digit++)
		value = value * 8 + (*digit - '0');
	if (digit < end || digit == field + negative) {
		tar_refuse("a number that is not octal: %s", tar_quoted((const char *)field, (size_t)(end - field), quoted, sizeof quoted));
	}
	return negative ? -value : value;
}

static int64_t integer(const uint8_t *digits, size_t size)
{
	char quoted[256];
	int64_t value = 0;
	size_t i = 0;
	for (; i < size && digits[i] >= '0' && digits[i] <= '9' && value < TAR_MAX_NUMBER; i++)
		value = value * 10 + (digits[i] - '0');
	if (i < size || size == 0 || value >= TAR_MAX_NUMBER) {
		size_t shown = size < SHOWN_DIGITS ? size : SHOWN_DIGITS;
		tar_refuse("not a number: %s", tar_quoted((const char *)digits, shown, quoted, sizeof quoted));
	}
	return value;
}

/* Whole seconds of a decimal number; what is no such number is the epoch. */
static int64_t seconds(const uint8_t *text, size_t size)
{
	size_t i = 0, first;
	int negative = size > 0 && text[0] == '-', fraction = 0;
	int64_t value = 0;
	first = i = (size_t)negative;
	for (; i < size && text[i] >= '0' && text[i] <= '9'; i++) {
		if (i - first == 15)
			return 0;
		value = value * 10 + (text[i] - '0');
	}
	if (i == first || (i < size && text[i] != '.'))
		return 0;
	for (i += i < size; i < size; i++) {
		if (text[i] < '0' || text[i] > '9')
			return 0;
		fraction |= text[i] != '0';
	}
	return negative ? -value - fraction : value;
}

static int is(const uint8_t *keyword, size_t size, const char *name)
{
	return size == strlen(name) && memcmp(keyword, name, size) == 0;
}

static int begins(const uint8_t *keyword, size_t size, const char *name)
{
	return size >= strlen(name) && memcmp(keyword, name, strlen(name)) == 0;
}

static void add_xattr(struct tar_meta *meta, const uint8_t *name, size_t name_size, const uint8_t *value, size_t size)
{
	if (meta->xattr_count == meta->xattr_room) {
		uint32_t room = meta->xattr_room ? meta->xattr_room * 2 : 16;
		struct tar_xattr *more = realloc(meta->xattrs, room * sizeof *more);
		if (!more)
			fail(ENOMEM, "memory");
		meta->xattrs = more;
		meta->xattr_room = room;
	}
	meta->xattrs[meta->xattr_count++] = (struct tar_xattr){
		.name = (const char *)name, .value = value, .name_size = (uint32_t)name_size, .size = (uint32_t)size
	};
}

static void set(struct tar_meta *meta, const uint8_t *keyword, size_t length, const uint8_t *value, size_t size)
{
	if (begins(keyword, length, XATTR)) {
		add_xattr(meta, keyword + strlen(XATTR), length - strlen(XATTR), value, size);
		return;
	}
	/* An empty value takes back what a header before said; only an xattr may be empty. */
	if (size == 0)
		return;
	if (is(keyword, length, "path")) {
		keep(&meta->path, value, size);
		meta->said |= META_PATH;
	} else if (is(keyword, length, "linkpath")) {
		keep(&meta->link, value, size);
		meta->said |= META_LINK;
	} else if (is(keyword, length, "size")) {
		meta->size = integer(value, size);
		meta->said |= META_SIZE;
	} else if (is(keyword, length, "uid")) {
		meta->uid = integer(value, size);
		meta->said |= META_UID;
	} else if (is(keyword, length, "gid")) {
		meta->gid = integer(value, size);
		meta->said |= META_GID;
	} else if (is(keyword, length, "mtime")) {
		meta->mtime = seconds(value, size);
		meta->said |= META_MTIME;
	} else if (begins(keyword, length, "GNU.sparse."))
		tar_refuse_sparse();
}

/* `LENGTH KEYWORD=VALUE\n`; LENGTH counts all of it. Returns where the next record begins. */
static const uint8_t *record(struct tar_meta *meta, const uint8_t *at, const uint8_t *end)
{
	size_t length = 0;
	const uint8_t *p = at;
	for (; p < end && *p >= '0' && *p <= '9' && length < (size_t)(end - at); p++)
		length = length * 10 + (size_t)(*p - '0');
	const uint8_t *next = length <= (size_t)(end - at) ? at + length : NULL;
	const uint8_t *keyword = p + 1;
	if (p == at || p == end || *p != ' ' || !next || next <= keyword)
		tar_refuse("a malformed extended header");
	const uint8_t *equals = memchr(keyword, '=', (size_t)(next - keyword));
	if (!equals)
		tar_refuse("a malformed extended header");
	const uint8_t *value = equals + 1;
	set(meta, keyword, (size_t)(equals - keyword), value, value < next ? (size_t)(next - value - 1) : 0);
	return next;
}

void meta_pax(struct tar_meta *meta, const uint8_t *body, size_t size)
{
	uint32_t before = meta->xattr_count;
	if (memmem(body, size, XATTR, strlen(XATTR))) {
		keep(&meta->spare, body, size);
		body = meta->spare.at;
	}
	for (const uint8_t *at = body; at < body + size;)
		at = record(meta, at, body + size);
	if (meta->xattr_count == before)
		return;
	/* They replace those of a header before. */
	meta->xattr_count -= before;
	memmove(meta->xattrs, meta->xattrs + before, meta->xattr_count * sizeof *meta->xattrs);
	struct tar_bytes old = meta->xattr_body;
	meta->xattr_body = meta->spare;
	meta->spare = old;
}

void meta_long(struct tar_meta *meta, char flag, const uint8_t *body, size_t size)
{
	const uint8_t *nul = memchr(body, 0, size);
	keep(flag == 'L' ? &meta->path : &meta->link, body, nul ? (size_t)(nul - body) : size);
	meta->said |= flag == 'L' ? META_PATH : META_LINK;
}

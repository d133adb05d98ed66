#include "tar-write.h"
#include <stdio.h>
#include <string.h>

#define MAX_OCTAL_7 07777777ULL
#define MAX_OCTAL_11 077777777777ULL
#define NAME 100
#define PREFIX 155

/* A name as it is stored, in two parts of which the second may be a '/' that is not in memory. */
struct name {
	const char *text;
	size_t length; /* with the slash */
	int has_slash;
};

struct field {
	const char *text;
	size_t length;
};

static int is_plain(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if ((uint8_t)(text[i] - 1) >= 0x7f)
			return 0;
	return 1;
}

static void put_name(uint8_t *to, const struct name *name, size_t from, size_t length)
{
	size_t in_text = name->length - (size_t)name->has_slash;
	size_t part = from + length > in_text ? in_text - from : length;
	memcpy(to, name->text + from, part);
	if (part < length)
		to[part] = '/';
}

/* Where ustar's prefix ends; 0: it has none; -1: the name does not fit. */
static long split_name(const struct name *name)
{
	if (!is_plain(name->text, name->length - (size_t)name->has_slash))
		return -1;
	if (name->length <= NAME)
		return 0;
	if (name->length > NAME + 1 + PREFIX)
		return -1;
	size_t last = name->length - 2 < PREFIX ? name->length - 2 : PREFIX;
	const char *slash = memrchr(name->text, '/', last + 1);
	if (!slash || slash == name->text || name->length - (size_t)(slash - name->text) - 1 > NAME)
		return -1;
	return slash - name->text;
}

static void put_octal(uint8_t *to, uint64_t value, int digits)
{
	for (int i = digits; i-- > 0; value >>= 3)
		to[i] = (uint8_t)('0' + (value & 7));
}

static uint64_t fit(uint64_t value, uint64_t max)
{
	return value > max ? 0 : value;
}

static uint64_t positive(int64_t time)
{
	return time < 0 ? 0 : (uint64_t)time;
}

static void put_block(uint8_t *to, const struct tar_entry *entry, const struct name *name, long prefix, char type)
{
	memset(to, 0, TAR_BLOCK);
	if (prefix > 0) {
		put_name(to + 345, name, 0, (size_t)prefix);
		put_name(to, name, (size_t)prefix + 1, name->length - (size_t)prefix - 1);
	} else {
		put_name(to, name, 0, name->length < NAME ? name->length : NAME);
	}
	put_octal(to + 100, entry->mode & 07777, 7);
	put_octal(to + 108, fit(entry->uid, MAX_OCTAL_7), 7);
	put_octal(to + 116, fit(entry->gid, MAX_OCTAL_7), 7);
	put_octal(to + 124, fit(entry->size, MAX_OCTAL_11), 11);
	put_octal(to + 136, fit(positive(entry->mtime), MAX_OCTAL_11), 11);
	to[156] = (uint8_t)type;
	memcpy(to + 157, entry->link, entry->link_length < NAME ? entry->link_length : NAME);
	memcpy(to + 257, "ustar\00000", 8);
	if (type == '3' || type == '4') {
		put_octal(to + 329, entry->major, 7);
		put_octal(to + 337, entry->minor, 7);
	}
	memset(to + 148, ' ', 8);
	uint32_t sum = 0;
	for (int i = 0; i < TAR_BLOCK; i++)
		sum += to[i];
	put_octal(to + 148, sum, 6);
	to[154] = 0;
}

static size_t digits_of(size_t value)
{
	size_t digits = 1;
	for (; value >= 10; value /= 10)
		digits++;
	return digits;
}

/* Appends `LENGTH KEYWORD=VALUE\n`, where LENGTH counts itself; with to NULL nothing but its size is told. */
static size_t record(uint8_t *to, const char *keyword, const char *value, size_t size, int slash)
{
	size_t rest = strlen(keyword) + size + (size_t)slash + 3, length = rest + digits_of(rest);
	if (digits_of(length) != digits_of(rest))
		length = rest + digits_of(length);
	if (!to)
		return length;
	uint8_t *at = to + sprintf((char *)to, "%zu %s=", length, keyword);
	memcpy(at, value, size);
	at += size;
	if (slash)
		*at++ = '/';
	*at = '\n';
	return length;
}

static size_t number_record(uint8_t *to, const char *keyword, long long value)
{
	char text[24];
	return record(to, keyword, text, (size_t)sprintf(text, "%lld", value), 0);
}

/* All PAX records in the order of their keywords. */
static size_t put_records(uint8_t *to, const struct tar_entry *entry, const struct name *name, long prefix)
{
	size_t size = 0;
#define NEXT (to ? to + size : NULL)
	if (entry->capability_length > 0)
		size += record(NEXT, "SCHILY.xattr.security.capability", (const char *)entry->capability,
			       entry->capability_length, 0);
	if (entry->gid > MAX_OCTAL_7)
		size += number_record(NEXT, "gid", entry->gid);
	if (entry->link_length > NAME || !is_plain(entry->link, entry->link_length))
		size += record(NEXT, "linkpath", entry->link, entry->link_length, 0);
	if (entry->mtime < 0 || (uint64_t)entry->mtime > MAX_OCTAL_11)
		size += number_record(NEXT, "mtime", entry->mtime);
	if (prefix < 0)
		size += record(NEXT, "path", name->text, name->length - (size_t)name->has_slash, name->has_slash);
	if (entry->size > MAX_OCTAL_11)
		size += number_record(NEXT, "size", (long long)entry->size);
	if (entry->uid > MAX_OCTAL_7)
		size += number_record(NEXT, "uid", entry->uid);
#undef NEXT
	return size;
}

static struct name name_of(const struct tar_entry *entry)
{
	int has_slash = entry->type == '5';
	return (struct name){ entry->path, entry->path_length + (size_t)has_slash, has_slash };
}

size_t tar_header_size(const struct tar_entry *entry)
{
	struct name name = name_of(entry);
	size_t records = put_records(NULL, entry, &name, split_name(&name));
	return records == 0 ? TAR_BLOCK : 2 * TAR_BLOCK + records + tar_padding(records);
}

/* The name of the PAX header itself, which nobody reads. */
static struct name pax_name(const struct tar_entry *entry, char text[NAME])
{
	const char *slash = memrchr(entry->path, '/', entry->path_length);
	const char *base = slash ? slash + 1 : entry->path;
	size_t size = entry->path_length - (size_t)(base - entry->path), at = (size_t)sprintf(text, "PaxHeaders.0/");
	for (size_t i = 0; i < size && i < 80; i++)
		text[at++] = base[i] < 0x20 || base[i] > 0x7e ? '_' : base[i];
	return (struct name){ text, at, 0 };
}

void tar_header(const struct tar_entry *entry, uint8_t *to)
{
	struct name name = name_of(entry);
	long prefix = split_name(&name);
	size_t records = put_records(to + TAR_BLOCK, entry, &name, prefix);
	if (records > 0) {
		char text[NAME];
		struct name own = pax_name(entry, text);
		struct tar_entry pax = { .link = "", .mode = 0644, .size = records };
		put_block(to, &pax, &own, 0, 'x');
		memset(to + TAR_BLOCK + records, 0, tar_padding(records));
		to += TAR_BLOCK + records + tar_padding(records);
	}
	put_block(to, entry, &name, prefix, entry->type);
}

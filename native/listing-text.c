#include "listing-text.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIGEST 32
/* Bytes of a digest that tell files apart where they are listed for people. */
#define SHORT_DIGEST 8

struct text {
	uint8_t *out;
	uint64_t room, size;
	/* Fields between path and content; mostly they are as before. */
	struct listed latest;
	char attributes[96];
	size_t attributes_size;
};

/* The path of the current record, and where names of a depth begin in it. */
struct path {
	char *bytes;
	size_t room, length;
	uint32_t *starts;
	size_t starts_room, depths; /* the depths that entries may have now */
};

static void put(struct text *text, const void *bytes, size_t size)
{
	if (size > 0 && text->room >= size && text->size <= text->room - size)
		memcpy(text->out + text->size, bytes, size);
	text->size += size;
}

static void put_hex(struct text *text, const uint8_t *bytes, size_t count)
{
	char hex[2 * DIGEST];
	for (size_t i = 0; i < count; i++) {
		hex[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
		hex[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
	}
	put(text, hex, 2 * count);
}

static int grow(void **memory, size_t *room, size_t wanted, size_t each)
{
	if (wanted <= *room)
		return 0;
	void *more = realloc(*memory, 2 * wanted * each);
	if (!more)
		return -ENOMEM;
	*memory = more;
	*room = 2 * wanted;
	return 0;
}

static int enter(struct path *path, const struct listed *listed, const uint8_t *name)
{
	if (listed->depth >= path->depths || listed->name_length == 0)
		return -EINVAL;
	size_t start = path->starts[listed->depth], length = start + listed->name_length;
	if (length >= UINT32_MAX)
		return -EINVAL;
	int error = grow((void **)&path->bytes, &path->room, length + 1, 1);
	if (error)
		return error;
	memcpy(path->bytes + start, name, listed->name_length);
	path->length = length;
	path->depths = (size_t)listed->depth + 1;
	if (listed->type != LISTED_DIRECTORY)
		return 0;
	path->bytes[length] = '/';
	error = grow((void **)&path->starts, &path->starts_room, path->depths + 1, sizeof *path->starts);
	if (!error)
		path->starts[path->depths++] = (uint32_t)length + 1;
	return error;
}

static const char *type_name(uint8_t type)
{
	static const char *const names[] = { "", "file", "directory", "symlink", "char", "block", "fifo", "socket" };
	return names[type];
}

static void write_attributes(struct text *text, uint32_t flags, const struct listed *listed)
{
	char mode[16] = "", owner[32] = "";
	if (flags & LISTING_MODES && listed->type != LISTED_SYMLINK)
		snprintf(mode, sizeof mode, "%o", listed->mode);
	if (flags & LISTING_OWNERS)
		snprintf(owner, sizeof owner, "%u:%u", listed->uid, listed->gid);
	int size = snprintf(text->attributes, sizeof text->attributes, "%c%s%c%s%c%s%c", 0, type_name(listed->type), 0, mode, 0,
			    owner, 0);
	text->attributes_size = (size_t)size;
	text->latest = *listed;
}

static void put_attributes(struct text *text, uint32_t flags, const struct listed *listed)
{
	const struct listed *latest = &text->latest;
	if (latest->type != listed->type || latest->mode != listed->mode || latest->uid != listed->uid || latest->gid != listed->gid)
		write_attributes(text, flags, listed);
	put(text, text->attributes, text->attributes_size);
}

static void put_digest(struct text *text, uint32_t flags, const uint8_t *digest)
{
	if (flags & LISTING_SHORT) {
		put_hex(text, digest, SHORT_DIGEST);
		return;
	}
	put(text, "sha256:", strlen("sha256:"));
	put_hex(text, digest, DIGEST);
}

static void put_content(struct text *text, uint32_t flags, const struct listed *listed, const uint8_t *name, const uint8_t *digest)
{
	const uint8_t *link = name + listed->name_length, *capability = link + listed->link_length;
	char device[32];
	switch (listed->type) {
	case LISTED_SYMLINK:
		put(text, link, listed->link_length);
		break;
	case LISTED_CHAR:
	case LISTED_BLOCK:
		snprintf(device, sizeof device, "%u:%u", (uint32_t)(listed->size >> 32), (uint32_t)listed->size);
		put(text, device, strlen(device));
		break;
	case LISTED_FILE:
		put_digest(text, flags, digest);
		if (listed->capability_length > 0)
			put(text, " ", 1);
		for (size_t i = 0; i < listed->capability_length; i++)
			put_hex(text, capability + i, 1);
	}
	put(text, "", 1);
}

static int put_entries(struct text *text, struct path *path, struct listing_part part, uint32_t flags,
		       struct listing_contents contents)
{
	struct listing_reader *reader = &part.reader;
	struct listed listed;
	const uint8_t *name;
	uint32_t file = 0;
	int found;
	while ((found = listing_next(reader, &listed, &name)) > 0) {
		int error = enter(path, &listed, name);
		if (error)
			return error;
		const uint8_t *digest = NULL;
		if (listed.type == LISTED_FILE) {
			if (file >= contents.files)
				return -EINVAL;
			digest = contents.digests + (size_t)file++ * DIGEST;
		}
		/* Its name may be part of paths to come, and its number counts. */
		if (reader->segment < part.first)
			continue;
		if (flags & LISTING_PATHS)
			put(text, path->bytes, path->length);
		else
			put(text, ".", 1);
		put_attributes(text, flags, &listed);
		put_content(text, flags, &listed, name, digest);
	}
	return found < 0 ? -EINVAL : 0;
}

int64_t listing_text(struct listing_part part, uint32_t flags, struct listing_contents contents, uint8_t *out,
		     uint64_t room)
{
	struct text text = { .out = out, .room = room };
	struct path path = { 0 };
	int error = grow((void **)&path.starts, &path.starts_room, 1, sizeof *path.starts);
	if (!error) {
		path.starts[0] = 0;
		path.depths = 1;
		error = put_entries(&text, &path, part, flags, contents);
	}
	free(path.bytes);
	free(path.starts);
	return error ? error : (int64_t)text.size;
}

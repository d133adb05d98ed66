#include "stat-entries.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DIGEST 32
/* Words of a key that name the file: its file system and its inode. */
#define NAME_WORDS 4
#define NOBODY UINT32_MAX

/* Entries by their names; made when files do not come in the order in which they were learnt. */
struct name_index {
	uint32_t *slots;
	uint32_t size; /* a power of two */
};

static int is_named(const struct stat_entry *entry, const uint32_t *key)
{
	return memcmp(entry->key, key, NAME_WORDS * sizeof *key) == 0;
}

static uint32_t first_slot(const struct name_index *index, const uint32_t *key)
{
	return ((key[2] * 0x9e3779b1U ^ key[3] * 0x85ebca6bU ^ key[0]) >> 7) & (index->size - 1);
}

/* The slot of a name, or the empty one where it would be. */
static uint32_t slot_of(const struct name_index *index, const struct stat_entries *entries, const uint32_t *key)
{
	uint32_t slot = first_slot(index, key);
	while (index->slots[slot] != NOBODY && !is_named(&entries->all[index->slots[slot]], key))
		slot = (slot + 1) & (index->size - 1);
	return slot;
}

static int make_index(struct name_index *index, const struct stat_entries *entries)
{
	if (entries->count > INT32_MAX / 4)
		return -EINVAL;
	index->size = 1024;
	while (index->size / 2 < entries->count + 1)
		index->size *= 2;
	index->slots = malloc(index->size * sizeof *index->slots);
	if (!index->slots)
		return -ENOMEM;
	memset(index->slots, 0xff, index->size * sizeof *index->slots);
	for (uint32_t i = 0; i < entries->count; i++)
		index->slots[slot_of(index, entries, entries->all[i].key)] = i;
	return 0;
}

/* The entry of that name, where `next` is a good guess; NOBODY. Negative: -ENOMEM. */
static int64_t find_name(struct name_index *index, const struct stat_entries *entries, uint32_t next, const uint32_t *key)
{
	if (next < entries->count && is_named(&entries->all[next], key))
		return next;
	if (entries->count == 0)
		return NOBODY;
	int error = index->slots ? 0 : make_index(index, entries);
	if (error)
		return error;
	return index->slots[slot_of(index, entries, key)];
}

static void make_key(uint32_t key[12], const struct stat_place *place, const struct listed *listed)
{
	memcpy(key, place->tag, sizeof place->tag);
	memcpy(key + 2, &listed->ino, sizeof listed->ino);
	memcpy(key + 4, &listed->size, 8 * sizeof *key);
}

_Static_assert(offsetof(struct listed, ino) == offsetof(struct listed, size) + 32, "what is between them is the rest of a key");

/* 1: its digest was copied to `digest`. */
static int64_t find_digest(struct name_index *index, const struct stat_entries *entries, uint32_t *next, const uint32_t *key,
			   uint8_t *digest)
{
	int64_t found = find_name(index, entries, *next, key);
	if (found < 0 || found == NOBODY)
		return found < 0 ? found : 0;
	const struct stat_entry *entry = &entries->all[found];
	*next = (uint32_t)found + 1;
	if (memcmp(entry->key, key, sizeof entry->key) != 0)
		return 0;
	entries->used[found] = 1;
	memcpy(digest, entry->digest, DIGEST);
	return 1;
}

/* Looks for one file; 1: it is known now. */
static int64_t find_file(struct name_index *index, const struct stat_entries *entries, uint32_t *next, const struct stat_place *place,
			 const struct listed *listed, const struct file_digests *files, uint32_t number)
{
	uint8_t *digest = files->digests + (size_t)number * DIGEST;
	if (listed->size == 0) {
		memcpy(digest, files->empty, DIGEST);
		return 1;
	}
	if (!place || !place->is_trusted)
		return 0;
	uint32_t key[12];
	make_key(key, place, listed);
	return find_digest(index, entries, next, key, digest);
}

static int64_t find_all(struct name_index *index, struct listing_reader *reader, const struct stat_place *places,
			uint32_t place_count, const struct stat_entries *entries, const struct file_digests *files,
			struct unknown_files *unknown)
{
	struct listed listed;
	const uint8_t *name;
	uint32_t number = 0, next = 0;
	int found;
	while ((found = listing_next(reader, &listed, &name)) > 0) {
		if (listed.type != LISTED_FILE)
			continue;
		if (number >= files->files)
			return -EINVAL;
		unknown->have_names += listed.nlink > 1;
		if (files->known[number] != 1) {
			const struct stat_place *place = listed.file_system < place_count ? &places[listed.file_system] : NULL;
			int64_t is_known = find_file(index, entries, &next, place, &listed, files, number);
			if (is_known < 0)
				return is_known;
			files->known[number] = is_known == 1;
			unknown->files += is_known == 0;
			unknown->bytes += is_known == 0 ? (double)listed.size : 0;
		}
		number++;
	}
	return found < 0 ? -EINVAL : 0;
}

int64_t find_digests(struct listing_reader reader, const struct stat_place *places, uint32_t place_count,
		     struct stat_entries entries, struct file_digests files, struct unknown_files *unknown)
{
	struct name_index index = { 0 };
	*unknown = (struct unknown_files){ 0 };
	int64_t error = find_all(&index, &reader, places, place_count, &entries, &files, unknown);
	free(index.slots);
	return error;
}

#include "xattr-sets.h"
#include "tree.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* More of them are on no file that a person made, and an EROFS inode counts those that it shares in 8 bits. */
#define MAX_PER_FILE 255U
#define MAX_MEMBERS (1U << 24)

static uint64_t fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t secret_hash(uint64_t secret, uint64_t seed, const void *bytes, size_t size)
{
	const uint8_t *at = bytes;
	uint64_t state = fold(seed ^ secret, 0x9e3779b97f4a7c15u ^ size);
	for (; size >= 8; at += 8, size -= 8) {
		uint64_t word;
		memcpy(&word, at, 8);
		state = fold(state ^ word, secret | 1);
	}
	uint64_t last = 0;
	if (size > 0)
		memcpy(&last, at, size);
	return fold(state ^ last, (secret >> 1) | 1);
}

static void *grown(void *array, uint32_t *room, size_t size)
{
	*room = *room ? *room * 2 : 64;
	void *more = realloc(array, *room * size);
	if (!more)
		fail(ENOMEM, "memory");
	return more;
}

void xattrs_open(struct xattr_sets *x, uint64_t secret)
{
	*x = (struct xattr_sets){ .secret = secret, .set_count = 1, .slot_count = 64 };
	x->sets = grown(NULL, &x->set_room, sizeof *x->sets);
	x->sets[0] = (struct xattr_set){ 0, 0 };
	x->slots = allocate(x->slot_count * sizeof *x->slots);
	memset(x->slots, 0xff, x->slot_count * sizeof *x->slots);
}

void xattrs_close(struct xattr_sets *x)
{
	free(x->all);
	free(x->members);
	free(x->sets);
	free(x->slots);
	*x = (struct xattr_sets){ 0 };
}

static uint64_t hash_of(const struct xattr_sets *x, const char *name, uint32_t name_size, const void *value, uint32_t size)
{
	return secret_hash(x->secret, secret_hash(x->secret, 0, name, name_size), value, size);
}

static void rehash(struct xattr_sets *x)
{
	x->slot_count *= 2;
	free(x->slots);
	x->slots = allocate(x->slot_count * sizeof *x->slots);
	memset(x->slots, 0xff, x->slot_count * sizeof *x->slots);
	for (uint32_t i = 0; i < x->count; i++) {
		const struct xattr *a = &x->all[i];
		uint32_t at = (uint32_t)hash_of(x, a->name, a->name_size, a->value, a->size) & (x->slot_count - 1);
		while (x->slots[at] != UINT32_MAX)
			at = (at + 1) & (x->slot_count - 1);
		x->slots[at] = i;
	}
}

static uint32_t single(struct xattr_sets *x, struct arena *text, const char *name, uint32_t name_size, const void *value, uint32_t size)
{
	if (x->count * 2 >= x->slot_count)
		rehash(x);
	uint32_t at = (uint32_t)hash_of(x, name, name_size, value, size) & (x->slot_count - 1);
	for (; x->slots[at] != UINT32_MAX; at = (at + 1) & (x->slot_count - 1)) {
		const struct xattr *a = &x->all[x->slots[at]];
		if (a->name_size == name_size && a->size == size && memcmp(a->name, name, name_size) == 0 && memcmp(a->value, value, size) == 0)
			return x->slots[at];
	}
	if (x->count == x->room)
		x->all = grown(x->all, &x->room, sizeof *x->all);
	const char *own_name = arena_copy(text, name, name_size), *own_value = arena_copy(text, value, size);
	x->all[x->count] = (struct xattr){ own_name, own_value, name_size, size, 0, 0 };
	x->slots[at] = x->count;
	return x->count++;
}

/* Names are few: those of one file are compared one by one. */
static uint32_t add(const struct xattr_sets *x, uint32_t *chosen, uint32_t count, uint32_t which)
{
	const struct xattr *one = &x->all[which];
	for (uint32_t i = 0; i < count; i++) {
		const struct xattr *other = &x->all[chosen[i]];
		if (other->name_size == one->name_size && memcmp(other->name, one->name, one->name_size) == 0) {
			chosen[i] = which;
			return count;
		}
	}
	chosen[count] = which;
	return count + 1;
}

static int by_number(const void *a, const void *b)
{
	uint32_t one = *(const uint32_t *)a, other = *(const uint32_t *)b;
	return one < other ? -1 : one > other;
}

static uint32_t set_of(struct xattr_sets *x, uint32_t *chosen, uint32_t count)
{
	qsort(chosen, count, sizeof *chosen, by_number);
	/* Most layers have one or two sets on all their files: the latest ones are looked through. */
	for (uint32_t back = 1; back <= 8 && back < x->set_count; back++) {
		const struct xattr_set *set = &x->sets[x->set_count - back];
		if (set->count == count && memcmp(x->members + set->first, chosen, count * sizeof *chosen) == 0)
			return x->set_count - back;
	}
	if (x->member_count + count > MAX_MEMBERS)
		fail(EBADMSG, "cannot read the archive: more than %u extended attributes", MAX_MEMBERS);
	while (x->member_count + count > x->member_room)
		x->members = grown(x->members, &x->member_room, sizeof *x->members);
	if (x->set_count == x->set_room)
		x->sets = grown(x->sets, &x->set_room, sizeof *x->sets);
	memcpy(x->members + x->member_count, chosen, count * sizeof *chosen);
	x->sets[x->set_count] = (struct xattr_set){ x->member_count, count };
	x->member_count += count;
	return x->set_count++;
}

static uint32_t begin(const struct xattr_sets *x, uint32_t before, uint32_t *chosen)
{
	const struct xattr_set *set = &x->sets[before];
	if (set->count > 0)
		memcpy(chosen, x->members + set->first, set->count * sizeof *chosen);
	return set->count;
}

static _Noreturn void refuse(const struct tar_entry *entry, const char *what)
{
	char quoted[300];
	fail(EBADMSG, "cannot read the archive: %s has %s", tar_quoted(entry->path, entry->path_size, quoted, sizeof quoted), what);
}

uint32_t xattrs_set(struct xattr_sets *x, struct arena *text, uint32_t before, const struct tar_entry *entry)
{
	uint32_t chosen[MAX_PER_FILE + 1], count = begin(x, before, chosen);
	uint64_t names = 0;
	int kept = 0;
	for (uint32_t i = 0; i < entry->xattr_count; i++) {
		const struct tar_xattr *a = &entry->xattrs[i];
		if (!tar_keeps_xattr(a->name, a->name_size))
			continue;
		names += a->name_size + 1;
		if (a->name_size > MAX_XATTR_NAME || a->name_size <= strlen("user.") || memchr(a->name, 0, a->name_size))
			refuse(entry, "an extended attribute whose name Linux does not take");
		if (a->size > MAX_XATTR_VALUE)
			refuse(entry, "an extended attribute of more than 65535 bytes");
		if (count >= MAX_PER_FILE || names > MAX_XATTR_NAMES)
			refuse(entry, "more extended attributes than Linux takes");
		count = add(x, chosen, count, single(x, text, a->name, a->name_size, a->value, a->size));
		kept = 1;
	}
	return kept ? set_of(x, chosen, count) : before;
}

uint32_t xattrs_with(struct xattr_sets *x, struct arena *text, uint32_t before, const char *name, uint32_t name_size,
		     const void *value, uint32_t size)
{
	uint32_t chosen[MAX_PER_FILE + 1], count = begin(x, before, chosen);
	count = add(x, chosen, count, single(x, text, name, name_size, value, size));
	return set_of(x, chosen, count);
}

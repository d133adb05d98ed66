#include "pack-expand.h"
#include "listing-read.h"
#include "sha256.h"
#include <stdlib.h>
#include <string.h>

/* In place of a socket, which an image cannot hold; as SOCKET_MODE of src/solver/exec/copy/planned.ts. */
#define SOCKET_MODE 0755
#define NOBODY UINT32_MAX

struct earlier {
	const uint8_t *all;
	uint32_t descriptor, count, next;
	/* By the beginnings of digests, made when contents do not come in the order in which they lie there. */
	uint32_t *index, slots;
};

struct tree {
	const struct pack_plan *plan;
	struct bytes *flat;
	uint32_t root, flags, uid, gid, mode;
	int64_t latest;
	uint32_t files;
	const uint8_t *known, *digests;
	struct request contents;
	uint32_t contents_left, next_content;
	struct earlier *earlier;
	uint32_t file, entries;
	/* Of the entry before, as far as entries may keep it. */
	size_t path_length;
	char *path;
	/* Where names of a depth begin. */
	uint32_t *starts;
};

static const uint8_t *take_fixed(struct request *r, uint64_t size)
{
	if (r->bad || (uint64_t)(r->end - r->at) < size) {
		r->bad = 1;
		return NULL;
	}
	const uint8_t *bytes = r->at;
	r->at += size;
	return bytes;
}

static void put(struct bytes *flat, const void *bytes, size_t size)
{
	if (size > 0)
		memcpy(extend(flat, size), bytes, size);
}

static void put_number(struct bytes *flat, uint64_t value, size_t size)
{
	put(flat, &value, size);
}

static const uint8_t *earlier_at(const struct earlier *earlier, uint32_t entry)
{
	return earlier->all + (size_t)entry * EARLIER_SIZE;
}

static uint32_t first_slot(const struct earlier *earlier, const uint8_t *digest)
{
	uint32_t value;
	memcpy(&value, digest, sizeof value);
	return value & (earlier->slots - 1);
}

/* The slot of a digest, or the empty one where it would be. */
static uint32_t slot_of(const struct earlier *earlier, const uint8_t *digest)
{
	uint32_t slot = first_slot(earlier, digest);
	while (earlier->index[slot] != NOBODY && memcmp(earlier_at(earlier, earlier->index[slot]), digest, SHA256_SIZE))
		slot = (slot + 1) & (earlier->slots - 1);
	return slot;
}

static void make_index(struct earlier *earlier)
{
	earlier->slots = 1024;
	while (earlier->slots / 2 < earlier->count + 1)
		earlier->slots *= 2;
	earlier->index = allocate(earlier->slots * sizeof *earlier->index);
	memset(earlier->index, 0xff, earlier->slots * sizeof *earlier->index);
	for (uint32_t i = 0; i < earlier->count; i++)
		earlier->index[slot_of(earlier, earlier_at(earlier, i))] = i;
}

static int is_content(const struct earlier *earlier, uint32_t entry, const uint8_t *digest, uint64_t size)
{
	double listed;
	memcpy(&listed, earlier_at(earlier, entry) + SHA256_SIZE + 8, sizeof listed);
	return listed == (double)size && memcmp(earlier_at(earlier, entry), digest, SHA256_SIZE) == 0;
}

/* 0 where the earlier layer has no such content. */
static int find_earlier(struct earlier *earlier, const uint8_t *digest, uint64_t size, uint64_t *offset)
{
	if (earlier->count == 0)
		return 0;
	uint32_t entry = earlier->next;
	/* why: contents are mostly asked for in the order in which they lie there. */
	if (entry >= earlier->count || !is_content(earlier, entry, digest, size)) {
		if (!earlier->index)
			make_index(earlier);
		entry = earlier->index[slot_of(earlier, digest)];
		if (entry == NOBODY || !is_content(earlier, entry, digest, size))
			return 0;
	}
	earlier->next = entry + 1;
	double place;
	memcpy(&place, earlier_at(earlier, entry) + SHA256_SIZE, sizeof place);
	if (!(place >= 0 && place < 0x1p53))
		return 0;
	*offset = (uint64_t)place;
	return 1;
}

/* The path of a record, behind what stands before all paths. -1 where it makes no sense. */
static int enter(struct tree *tree, const struct listed *listed, const char *name, size_t *keep)
{
	size_t start = tree->starts[listed->depth];
	size_t length = start + listed->name_length;
	if (start == NOBODY || listed->name_length == 0 || length >= PLAN_MAX_PATH)
		return -1;
	if (memchr(name, 0, listed->name_length) || memchr(name, '/', listed->name_length))
		return -1;
	size_t same = start < tree->path_length ? start : tree->path_length;
	while (same < tree->path_length && same < length && tree->path[same] == name[same - start])
		same++;
	memcpy(tree->path + start, name, listed->name_length);
	*keep = same;
	tree->path_length = length;
	if (listed->type == LISTED_DIRECTORY) {
		tree->path[length] = '/';
		if (listed->depth == UINT16_MAX)
			return -1;
		tree->starts[listed->depth + 1] = (uint32_t)length + 1;
	}
	return 0;
}

static char type_flag(uint8_t type)
{
	switch (type) {
	case LISTED_DIRECTORY:
		return '5';
	case LISTED_SYMLINK:
		return '2';
	case LISTED_CHAR:
		return '3';
	case LISTED_BLOCK:
		return '4';
	case LISTED_FIFO:
		return '6';
	default:
		return '0';
	}
}

static uint32_t mode_of(const struct tree *tree, const struct listed *listed)
{
	if (listed->type == LISTED_SYMLINK)
		return 0777;
	if (listed->type == LISTED_SOCKET)
		return SOCKET_MODE;
	return tree->flags & TREE_MODE ? tree->mode : listed->mode;
}

static void put_head(struct tree *tree, const struct listed *listed, int flags, size_t keep)
{
	int has_owner = (tree->flags & TREE_OWNER) != 0;
	int64_t mtime = listed->mtime < tree->latest ? listed->mtime : tree->latest;
	struct bytes *flat = tree->flat;
	put_number(flat, (uint8_t)type_flag(listed->type), 1);
	put_number(flat, (uint64_t)flags, 1);
	put_number(flat, mode_of(tree, listed), 2);
	put_number(flat, has_owner ? tree->uid : listed->uid, 4);
	put_number(flat, has_owner ? tree->gid : listed->gid, 4);
	put_number(flat, (uint64_t)mtime, 8);
	put_number(flat, listed->type == LISTED_FILE ? listed->size : 0, 8);
	put_number(flat, keep, 2);
	put_number(flat, tree->path_length - keep, 2);
	put(flat, tree->path + keep, tree->path_length - keep);
}

/* Where a file's bytes are had from. */
struct origin {
	int flags;
	const uint8_t *digest; /* of PLAN_KNOWN */
	const uint8_t *bytes; /* of SOURCE_INLINE */
	uint64_t offset;      /* of SOURCE_RANGE */
};

/* What was read of the file already; -1 where that makes no sense. */
static int take_content(struct tree *tree, uint64_t size, struct origin *origin)
{
	uint32_t length;
	const uint8_t *bytes = take_bytes(&tree->contents, &length);
	if (tree->contents.bad || length != size)
		return -1;
	*origin = (struct origin){ .flags = SOURCE_INLINE, .bytes = bytes };
	if (--tree->contents_left == 0) {
		tree->next_content = NOBODY;
		return 0;
	}
	uint32_t next = take_u32(&tree->contents);
	if (tree->contents.bad || next <= tree->next_content)
		return -1;
	tree->next_content = next;
	return 0;
}

static int find_origin(struct tree *tree, const struct listed *listed, struct origin *origin)
{
	*origin = (struct origin){ 0 };
	if (listed->type != LISTED_FILE)
		return 0;
	uint32_t file = tree->file++;
	if (file >= tree->files)
		return -1;
	int is_known = tree->known[file] == 1;
	const uint8_t *digest = is_known ? tree->digests + (size_t)file * SHA256_SIZE : NULL;
	if (file == tree->next_content) {
		if (take_content(tree, listed->size, origin) < 0)
			return -1;
	} else if (listed->size == 0)
		return 0;
	else if (is_known && find_earlier(tree->earlier, digest, listed->size, &origin->offset))
		origin->flags = SOURCE_RANGE;
	else
		origin->flags = SOURCE_FILE | (!is_known && tree->flags & TREE_DIGESTS ? PLAN_DIGEST : 0);
	origin->flags |= is_known ? PLAN_KNOWN : 0;
	origin->digest = digest;
	return 0;
}

static void put_origin(struct tree *tree, const struct listed *listed, const struct origin *origin)
{
	struct bytes *flat = tree->flat;
	if (origin->flags & PLAN_KNOWN)
		put(flat, origin->digest, SHA256_SIZE);
	switch (origin->flags & PLAN_SOURCE) {
	case SOURCE_FILE:
		put_number(flat, tree->root, 4);
		put_number(flat, listed->ino, 8);
		put_number(flat, (uint64_t)listed->ctime, 8);
		put_number(flat, listed->ctime_ns, 4);
		break;
	case SOURCE_RANGE:
		put_number(flat, tree->earlier->descriptor, 4);
		put_number(flat, origin->offset, 8);
		break;
	case SOURCE_INLINE:
		put(flat, origin->bytes, listed->size);
	}
}

static int put_entry(struct tree *tree, const struct listed *listed, const uint8_t *name)
{
	const uint8_t *link = name + listed->name_length;
	const uint8_t *capability = link + listed->link_length;
	int is_link = listed->type == LISTED_SYMLINK;
	int is_file = listed->type == LISTED_FILE;
	int is_device = listed->type == LISTED_CHAR || listed->type == LISTED_BLOCK;
	int has_capability = is_file && listed->capability_length > 0;
	struct origin origin;
	size_t keep;
	if (enter(tree, listed, (const char *)name, &keep) < 0 || find_origin(tree, listed, &origin) < 0)
		return -1;
	int flags = origin.flags | (is_link ? PLAN_LINK : 0) | (has_capability ? PLAN_CAPABILITY : 0);
	put_head(tree, listed, flags | (is_device ? PLAN_DEVICE : 0), keep);
	if (is_link) {
		put_number(tree->flat, listed->link_length, 2);
		put(tree->flat, link, listed->link_length);
	}
	if (has_capability) {
		put_number(tree->flat, listed->capability_length, 1);
		put(tree->flat, capability, listed->capability_length);
	}
	if (is_device) {
		put_number(tree->flat, listed->size >> 32, 4);
		put_number(tree->flat, listed->size & UINT32_MAX, 4);
	}
	put_origin(tree, listed, &origin);
	tree->entries++;
	return 0;
}

static int put_records(struct tree *tree, const uint8_t *records, uint64_t size)
{
	struct listing_reader reader = { .segments = &records, .sizes = &size, .count = 1 };
	struct listed listed;
	const uint8_t *name;
	int found;
	while ((found = listing_next(&reader, &listed, &name)) > 0)
		if (put_entry(tree, &listed, name) < 0)
			return -1;
	return found;
}

static int begin_tree(struct tree *tree, struct request *r)
{
	tree->root = take_u32(r);
	tree->flags = take_u32(r);
	tree->uid = take_u32(r);
	tree->gid = take_u32(r);
	tree->mode = take_u32(r);
	tree->latest = (int64_t)take_u64(r);
	uint32_t before;
	const uint8_t *prefix = take_bytes(r, &before);
	tree->files = take_u32(r);
	tree->known = take_fixed(r, tree->files);
	tree->digests = take_fixed(r, (uint64_t)tree->files * SHA256_SIZE);
	tree->contents_left = take_u32(r);
	tree->contents = *r;
	tree->next_content = NOBODY;
	for (uint32_t i = 0; i < tree->contents_left && !r->bad; i++) {
		uint32_t file = take_u32(r), size;
		take_bytes(r, &size);
		if (i == 0)
			tree->next_content = file;
	}
	if (tree->contents_left > 0)
		take_u32(&tree->contents);
	if (r->bad || before >= PLAN_MAX_PATH || memchr(prefix, 0, before) || tree->root >= tree->plan->root_count)
		return -1;
	memcpy(tree->path, prefix, before);
	tree->starts[0] = before;
	return 0;
}

static int expand_tree(struct pack_plan *plan, struct request *r, struct bytes *flat, struct earlier *earlier)
{
	struct tree tree = { .plan = plan, .flat = flat, .earlier = earlier, .path = allocate(PLAN_MAX_PATH) };
	size_t depths = (UINT16_MAX + 1) * sizeof *tree.starts;
	tree.starts = allocate(depths);
	memset(tree.starts, 0xff, depths);
	uint32_t size;
	int failed = begin_tree(&tree, r) < 0;
	const uint8_t *records = take_bytes(r, &size);
	failed = failed || r->bad || put_records(&tree, records, size) < 0;
	plan->entry_count += tree.entries;
	free(tree.starts);
	free(tree.path);
	return failed ? -1 : 0;
}

static int copy_entries(struct pack_plan *plan, struct request *r, struct bytes *flat)
{
	uint32_t count = take_u32(r), size;
	const uint8_t *entries = take_bytes(r, &size);
	if (r->bad || count > size)
		return -1;
	put(flat, entries, size);
	plan->entry_count += count;
	return 0;
}

static int take_earlier(const struct pack_plan *plan, struct request *r, struct earlier *earlier)
{
	free(earlier->index);
	*earlier = (struct earlier){ .descriptor = take_u32(r), .count = take_u32(r) };
	earlier->all = take_fixed(r, (uint64_t)earlier->count * EARLIER_SIZE);
	return r->bad || earlier->descriptor >= plan->descriptor_count ? -1 : 0;
}

static int take_checkpoints(struct pack_plan *plan, struct request *r)
{
	struct earlier_tar *earlier = &plan->earlier;
	earlier->descriptor = take_u32(r);
	earlier->count = take_u32(r);
	earlier->checkpoints = take_fixed(r, (uint64_t)earlier->count * CHECKPOINT_SIZE);
	return r->bad || earlier->descriptor >= plan->descriptor_count ? -1 : 0;
}

static int expand_block(struct pack_plan *plan, struct request *r, struct bytes *flat, struct earlier *earlier)
{
	uint32_t kind = take_u32(r);
	if (r->bad)
		return -1;
	switch (kind) {
	case BLOCK_ENTRIES:
		return copy_entries(plan, r, flat);
	case BLOCK_TREE:
		return expand_tree(plan, r, flat, earlier);
	case BLOCK_EARLIER:
		return take_earlier(plan, r, earlier);
	case BLOCK_CHECKPOINTS:
		return take_checkpoints(plan, r);
	default:
		return -1;
	}
}

int pack_expand(struct pack_plan *plan, struct request *r, struct bytes *flat)
{
	struct earlier earlier = { 0 };
	uint32_t blocks = take_u32(r);
	int failed = 0;
	plan->entry_count = 0;
	for (uint32_t i = 0; i < blocks && !failed; i++)
		failed = expand_block(plan, r, flat, &earlier) < 0;
	free(earlier.index);
	return !failed && r->at == r->end ? 0 : -1;
}

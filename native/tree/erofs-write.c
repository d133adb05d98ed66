#include "erofs-write.h"
#include "erofs-format.h"
#include "erofs-layout.h"
#include "tree.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#define BUFFER ((size_t)1 << 18)

struct image {
	const struct erofs_layout *layout;
	const struct erofs_source *sources;
	uint32_t source_count;
	uint32_t *addresses; /* first blocks of the sources */
	int fd;
	uint8_t *buffer;
	size_t used;
	uint64_t position;
	uint64_t targets; /* block of the next long target */
};

static void put(struct image *im, const void *bytes, size_t size)
{
	const uint8_t *at = bytes;
	im->position += size;
	while (size > 0) {
		size_t part = size < BUFFER - im->used ? size : BUFFER - im->used;
		memcpy(im->buffer + im->used, at, part);
		im->used += part;
		at += part;
		size -= part;
		if (im->used == BUFFER) {
			write_all(im->fd, im->buffer, BUFFER, "writing the index of a layer");
			im->used = 0;
		}
	}
}

static void put_zeros_to(struct image *im, uint64_t position)
{
	static const uint8_t zeros[EROFS_BLOCK];
	while (im->position < position) {
		uint64_t left = position - im->position;
		put(im, zeros, left < sizeof zeros ? (size_t)left : sizeof zeros);
	}
}

static void put_super(struct image *im, const struct inode *root)
{
	const struct erofs_layout *l = im->layout;
	struct erofs_super super = {
		.magic = EROFS_MAGIC,
		.compat = EROFS_COMPAT_MTIME,
		.block_bits = EROFS_BLOCK_BITS,
		.root = (uint16_t)root->number,
		.inodes = l->inode_count,
		.time = (uint64_t)l->time,
		.blocks = (uint32_t)l->blocks,
		.inode_block = (uint32_t)l->inode_block,
		.xattr_block = (uint32_t)l->xattr_block,
		.incompat = EROFS_INCOMPAT_DEVICE_TABLE,
		.devices = (uint16_t)im->source_count,
		.device_slot = (EROFS_SUPER_AT + sizeof super) / sizeof(struct erofs_device),
	};
	put_zeros_to(im, EROFS_SUPER_AT);
	put(im, &super, sizeof super);
	for (uint32_t i = 0; i < im->source_count; i++) {
		struct erofs_device device = { .blocks = (uint32_t)(im->sources[i].size / EROFS_BLOCK), .address = im->addresses[i] };
		memcpy(device.tag, im->sources[i].tag, sizeof device.tag);
		put(im, &device, sizeof device);
	}
}

static void put_entry(struct image *im, const struct xattr *a)
{
	uint32_t prefix;
	struct erofs_xattr head = { .size = (uint16_t)a->size };
	const uint64_t end = im->position + layout_entry_size(a);
	head.prefix = xattr_prefix(a, &prefix);
	head.name_size = (uint8_t)(a->name_size - prefix);
	put(im, &head, sizeof head);
	put(im, a->name + prefix, a->name_size - prefix);
	put(im, a->value, a->size);
	put_zeros_to(im, end);
}

static void put_xattrs(struct image *im, uint32_t set)
{
	const struct xattr_sets *x = &im->layout->tree->xattrs;
	const uint32_t *members = x->members + x->sets[set].first, count = x->sets[set].count;
	struct erofs_xattrs head = { .shared = 0 };
	for (uint32_t i = 0; i < count; i++)
		head.shared = (uint8_t)(head.shared + layout_is_shared(&x->all[members[i]]));
	put(im, &head, sizeof head);
	for (uint32_t i = 0; i < count; i++)
		if (layout_is_shared(&x->all[members[i]]))
			put(im, &x->all[members[i]].place, 4);
	for (uint32_t i = 0; i < count; i++)
		if (!layout_is_shared(&x->all[members[i]]))
			put_entry(im, &x->all[members[i]]);
}

static uint8_t dirent_type(const struct inode *inode)
{
	switch (inode->mode & S_IFMT) {
	case S_IFDIR:
		return 2;
	case S_IFCHR:
		return 3;
	case S_IFBLK:
		return 4;
	case S_IFIFO:
		return 5;
	case S_IFLNK:
		return 7;
	default:
		return 1;
	}
}

static const struct inode *target_of(const struct erofs_layout *l, const struct erofs_directory *d, uint32_t child)
{
	if (child == l->dot)
		return inode_of(l->tree, d->node);
	const uint32_t parent = l->tree->nodes[d->node].parent;
	if (child == l->dots)
		return inode_of(l->tree, parent ? parent : d->node);
	return inode_of(l->tree, child);
}

/* Entries `from` to `to` of a directory, which are one block of it. */
static void put_block(struct image *im, const struct erofs_directory *d, uint32_t from, uint32_t to)
{
	const struct erofs_layout *l = im->layout;
	uint32_t name_at = (to - from) * (uint32_t)sizeof(struct erofs_dirent);
	for (uint32_t i = from; i < to; i++) {
		const uint32_t child = l->children[d->first + i];
		const struct inode *inode = target_of(l, d, child);
		struct erofs_dirent entry = { .inode = inode->number, .name_at = (uint16_t)name_at, .type = dirent_type(inode) };
		put(im, &entry, sizeof entry);
		name_at += l->tree->nodes[child].name_size;
	}
	for (uint32_t i = from; i < to; i++) {
		const struct node *node = &l->tree->nodes[l->children[d->first + i]];
		put(im, node->name, node->name_size);
	}
}

static void put_directory(struct image *im, const struct erofs_directory *d)
{
	const struct erofs_layout *l = im->layout;
	uint64_t used = 0;
	uint32_t from = 0;
	for (uint32_t i = 0; i < d->count; i++) {
		uint64_t size = sizeof(struct erofs_dirent) + l->tree->nodes[l->children[d->first + i]].name_size;
		if (used + size > EROFS_BLOCK) {
			put_block(im, d, from, i);
			put_zeros_to(im, blocks_of(im->position) * EROFS_BLOCK);
			from = i;
			used = 0;
		}
		used += size;
	}
	put_block(im, d, from, d->count);
}

/* As the kernel's new_encode_dev. */
static uint32_t device_number(uint64_t device)
{
	const uint32_t number = minor(device);
	return (number & 0xff) | major(device) << 8 | (number & ~0xffu) << 12;
}

/* The field whose meaning depends on the type. */
static uint32_t data_of(struct image *im, const struct inode *inode)
{
	const struct erofs_layout *l = im->layout;
	if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode))
		return device_number(inode->device);
	if (S_ISREG(inode->mode))
		return inode->size > 0 ? im->addresses[inode->tar] + (uint32_t)(inode->offset / EROFS_BLOCK) : 0;
	if (layout_is_inline(l, inode) || S_ISFIFO(inode->mode))
		return 0;
	if (S_ISDIR(inode->mode))
		return (uint32_t)l->directories[inode->place].block;
	const uint64_t block = im->targets;
	im->targets += blocks_of(inode->size);
	return (uint32_t)block;
}

static void put_compact(struct image *im, const struct inode *inode, uint32_t serial, uint32_t layout, uint64_t size, uint16_t units)
{
	struct erofs_compact out = {
		.format = EROFS_FORMAT(0, layout),
		.xattr_units = units,
		.mode = inode->mode,
		.links = (uint16_t)inode->links,
		.size = (uint32_t)size,
		.data = data_of(im, inode),
		.serial = serial,
		.uid = (uint16_t)inode->uid,
		.gid = (uint16_t)inode->gid,
	};
	put(im, &out, sizeof out);
}

static void put_extended(struct image *im, const struct inode *inode, uint32_t serial, uint32_t layout, uint64_t size, uint16_t units)
{
	struct erofs_extended out = {
		.format = EROFS_FORMAT(1, layout),
		.xattr_units = units,
		.mode = inode->mode,
		.size = size,
		.data = data_of(im, inode),
		.serial = serial,
		.uid = inode->uid,
		.gid = inode->gid,
		.time = (uint64_t)inode->mtime,
		.time_nsec = inode->nsec,
		.links = inode->links,
	};
	put(im, &out, sizeof out);
}

static void put_inode(struct image *im, const struct inode *inode, uint32_t serial)
{
	const struct erofs_layout *l = im->layout;
	const int is_inline = layout_is_inline(l, inode);
	const uint32_t layout = is_inline ? EROFS_INLINE : EROFS_PLAIN;
	const uint32_t xattrs = layout_xattr_size(l->tree, inode->xattrs);
	/* 1 for the header, then units of 4 bytes. */
	const uint16_t units = (uint16_t)(xattrs ? 1 + (xattrs - sizeof(struct erofs_xattrs)) / 4 : 0);
	const uint64_t size = S_ISDIR(inode->mode) ? l->directories[inode->place].size : inode->size;
	if (layout_is_compact(l, inode))
		put_compact(im, inode, serial, layout, size, units);
	else
		put_extended(im, inode, serial, layout, size, units);
	if (xattrs)
		put_xattrs(im, inode->xattrs);
	if (is_inline && S_ISDIR(inode->mode))
		put_directory(im, &l->directories[inode->place]);
	else if (is_inline)
		put(im, inode->target, inode->size);
}

static void put_inodes(struct image *im)
{
	const struct erofs_layout *l = im->layout;
	const uint64_t start = l->inode_block * EROFS_BLOCK;
	for (uint32_t i = 0; i < l->inode_count; i++) {
		const struct inode *inode = &l->tree->inodes[l->inodes[i]];
		put_zeros_to(im, start + (uint64_t)inode->number * EROFS_SLOT);
		put_inode(im, inode, i + 1);
	}
}

static void put_data(struct image *im)
{
	const struct erofs_layout *l = im->layout;
	for (uint32_t i = 0; i < l->directory_count; i++)
		if (!layout_is_inline(l, inode_of(l->tree, l->directories[i].node))) {
			put_zeros_to(im, l->directories[i].block * EROFS_BLOCK);
			put_directory(im, &l->directories[i]);
		}
	put_zeros_to(im, l->target_block * EROFS_BLOCK);
	for (uint32_t i = 0; i < l->inode_count; i++) {
		const struct inode *inode = &l->tree->inodes[l->inodes[i]];
		if (!S_ISLNK(inode->mode) || layout_is_inline(l, inode))
			continue;
		put(im, inode->target, inode->size);
		put_zeros_to(im, blocks_of(im->position) * EROFS_BLOCK);
	}
	put_zeros_to(im, l->xattr_block * EROFS_BLOCK);
	for (uint32_t i = 0; i < l->shared_count; i++)
		put_entry(im, &l->tree->xattrs.all[l->shared[i]]);
	put_zeros_to(im, l->blocks * EROFS_BLOCK);
}

static void place_sources(struct image *im)
{
	uint64_t at = im->layout->blocks;
	for (uint32_t i = 0; i < im->source_count; i++) {
		im->addresses[i] = (uint32_t)at;
		at += blocks_of(im->sources[i].size);
		if (at > UINT32_MAX)
			fail(EFBIG, "indexing layers of more than 2 TiB");
	}
}

void erofs_write(int fd, struct layer_tree *tree, uint32_t root, const struct erofs_source *sources, uint32_t count)
{
	struct erofs_layout layout;
	layout_make(&layout, tree, root, count);
	struct image im = { .layout = &layout, .sources = sources, .source_count = count, .fd = fd, .targets = layout.target_block };
	im.addresses = allocate(count * sizeof *im.addresses);
	im.buffer = allocate(BUFFER);
	place_sources(&im);
	put_super(&im, inode_of(tree, root));
	put_inodes(&im);
	put_data(&im);
	write_all(fd, im.buffer, im.used, "writing the index of a layer");
	free(im.addresses);
	free(im.buffer);
	layout_free(&layout);
}

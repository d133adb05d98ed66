#include "erofs-layout.h"
#include "erofs-format.h"
#include "tree.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Values that are longer lie in the shared area, so that an inode's own stay small. */
#define MAX_OWN_VALUE 64U
#define MAX_BLOCKS 0xffffffffu

static int by_name(const void *a, const void *b, void *nodes)
{
	const struct node *one = (const struct node *)nodes + *(const uint32_t *)a;
	const struct node *other = (const struct node *)nodes + *(const uint32_t *)b;
	size_t size = one->name_size < other->name_size ? one->name_size : other->name_size;
	int order = memcmp(one->name, other->name, size);
	return order ? order : (int)one->name_size - (int)other->name_size;
}

/* Of a directory's entries; none goes over the end of a block. */
static uint64_t size_of_entries(const struct erofs_layout *l, const struct erofs_directory *d)
{
	uint64_t full = 0, used = 0;
	for (uint32_t i = 0; i < d->count; i++) {
		uint64_t size = sizeof(struct erofs_dirent) + l->tree->nodes[l->children[d->first + i]].name_size;
		if (used + size > EROFS_BLOCK) {
			full++;
			used = 0;
		}
		used += size;
	}
	return full * EROFS_BLOCK + used;
}

/* Once for every inode, however many names it has. */
static void meet_inode(struct erofs_layout *l, uint32_t number)
{
	struct inode *inode = &l->tree->inodes[number];
	const struct xattr_sets *x = &l->tree->xattrs;
	if (inode->links++ > 0)
		return;
	l->inodes[l->inode_count++] = number;
	for (uint32_t i = 0; i < x->sets[inode->xattrs].count; i++)
		x->all[x->members[x->sets[inode->xattrs].first + i]].users++;
}

static void meet_directory(struct erofs_layout *l, uint32_t node)
{
	struct inode *inode = inode_of(l->tree, node);
	meet_inode(l, l->tree->nodes[node].inode);
	/* Its name, its own `.`; a `..` of each directory in it comes on top. */
	inode->links = 2;
	inode->place = l->directory_count;
	l->directories[l->directory_count++] = (struct erofs_directory){ .node = node };
}

static void meet_children(struct erofs_layout *l, struct erofs_directory *d)
{
	struct node *nodes = l->tree->nodes;
	d->first = l->child_count;
	l->children[l->child_count++] = l->dot;
	l->children[l->child_count++] = l->dots;
	for (uint32_t child = nodes[d->node].first; child; child = nodes[child].next)
		if (!(nodes[child].flags & NODE_DEAD))
			l->children[l->child_count++] = child;
	d->count = l->child_count - d->first;
	qsort_r(l->children + d->first, d->count, sizeof *l->children, by_name, nodes);
	d->size = size_of_entries(l, d);
	for (uint32_t i = d->first; i < l->child_count; i++) {
		uint32_t child = l->children[i];
		if (child == l->dot || child == l->dots)
			continue;
		if (!S_ISDIR(inode_of(l->tree, child)->mode)) {
			meet_inode(l, nodes[child].inode);
			continue;
		}
		inode_of(l->tree, d->node)->links++;
		meet_directory(l, child);
	}
}

/* The time of more than half of the inodes, if there is one (Boyer and Moore's vote). */
static int64_t most_frequent_time(const struct erofs_layout *l)
{
	int64_t time = 0;
	uint32_t votes = 0;
	for (uint32_t i = 0; i < l->inode_count; i++) {
		const struct inode *inode = &l->tree->inodes[l->inodes[i]];
		if (votes == 0)
			time = inode->mtime;
		votes += inode->mtime == time ? 1 : -1U;
	}
	return time;
}

int layout_is_shared(const struct xattr *a)
{
	return a->users > 1 || a->size > MAX_OWN_VALUE;
}

uint8_t xattr_prefix(const struct xattr *a, uint32_t *size)
{
	static const struct {
		const char *text;
		uint8_t number;
	} prefixes[] = { { "user.", 1 }, { "trusted.", 4 }, { "security.", 6 } };
	for (unsigned i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
		*size = (uint32_t)strlen(prefixes[i].text);
		if (a->name_size >= *size && memcmp(a->name, prefixes[i].text, *size) == 0)
			return prefixes[i].number;
	}
	*size = 0;
	return 0;
}

uint32_t layout_entry_size(const struct xattr *a)
{
	uint32_t prefix;
	xattr_prefix(a, &prefix);
	return (uint32_t)(sizeof(struct erofs_xattr) + a->name_size - prefix + a->size + 3) / 4 * 4;
}

uint32_t layout_xattr_size(const struct layer_tree *tree, uint32_t set)
{
	const struct xattr_sets *x = &tree->xattrs;
	if (x->sets[set].count == 0)
		return 0;
	uint32_t size = sizeof(struct erofs_xattrs);
	for (uint32_t i = 0; i < x->sets[set].count; i++) {
		const struct xattr *a = &x->all[x->members[x->sets[set].first + i]];
		size += layout_is_shared(a) ? 4 : layout_entry_size(a);
	}
	return size;
}

int layout_is_compact(const struct erofs_layout *l, const struct inode *inode)
{
	const uint64_t size = S_ISDIR(inode->mode) ? l->directories[inode->place].size : inode->size;
	return inode->mtime == l->time && inode->nsec == 0 && inode->uid <= UINT16_MAX && inode->gid <= UINT16_MAX &&
	       inode->links <= UINT16_MAX && size <= UINT32_MAX;
}

/* Of the inode, its attributes and what is behind them, when everything is. */
static uint64_t whole_size(const struct erofs_layout *l, const struct inode *inode)
{
	uint64_t size = layout_is_compact(l, inode) ? sizeof(struct erofs_compact) : sizeof(struct erofs_extended);
	size += layout_xattr_size(l->tree, inode->xattrs);
	if (S_ISDIR(inode->mode))
		return size + l->directories[inode->place].size;
	return S_ISLNK(inode->mode) ? size + inode->size : size;
}

int layout_is_inline(const struct erofs_layout *l, const struct inode *inode)
{
	return (S_ISDIR(inode->mode) || S_ISLNK(inode->mode)) && whole_size(l, inode) <= EROFS_BLOCK;
}

static uint64_t data_blocks(const struct erofs_layout *l, const struct inode *inode)
{
	if (layout_is_inline(l, inode))
		return 0;
	return blocks_of(S_ISDIR(inode->mode) ? l->directories[inode->place].size : inode->size);
}

/* Numbers for all inodes, from slot 1 on: number 0 means "no file" to programs. */
static uint64_t place_inodes(struct erofs_layout *l)
{
	uint64_t at = EROFS_SLOT;
	for (uint32_t i = 0; i < l->inode_count; i++) {
		struct inode *inode = &l->tree->inodes[l->inodes[i]];
		const int is_inline = layout_is_inline(l, inode);
		uint64_t size = whole_size(l, inode);
		if (!is_inline && (S_ISDIR(inode->mode) || S_ISLNK(inode->mode)))
			size -= S_ISDIR(inode->mode) ? l->directories[inode->place].size : inode->size;
		/* What is behind an inode must not go over the end of a block. */
		if (is_inline && at % EROFS_BLOCK + size > EROFS_BLOCK)
			at = blocks_of(at) * EROFS_BLOCK;
		inode->number = (uint32_t)(at / EROFS_SLOT);
		at = (at + size + EROFS_SLOT - 1) / EROFS_SLOT * EROFS_SLOT;
		if (at / EROFS_SLOT > UINT32_MAX)
			fail(EFBIG, "the index of a layer");
	}
	return at;
}

static void place_data(struct erofs_layout *l, uint64_t block)
{
	l->directory_block = block;
	for (uint32_t i = 0; i < l->directory_count; i++) {
		struct erofs_directory *d = &l->directories[i];
		d->block = block;
		block += data_blocks(l, inode_of(l->tree, d->node));
	}
	l->target_block = block;
	for (uint32_t i = 0; i < l->inode_count; i++) {
		const struct inode *inode = &l->tree->inodes[l->inodes[i]];
		if (S_ISLNK(inode->mode))
			block += data_blocks(l, inode);
	}
	l->xattr_block = block;
}

static uint64_t place_shared(struct erofs_layout *l)
{
	struct xattr_sets *x = &l->tree->xattrs;
	uint64_t at = 0;
	for (uint32_t i = 0; i < x->count; i++) {
		struct xattr *a = &x->all[i];
		if (a->users == 0 || !layout_is_shared(a))
			continue;
		l->shared[l->shared_count++] = i;
		a->place = (uint32_t)(at / 4);
		at += layout_entry_size(a);
	}
	return at;
}

void layout_make(struct erofs_layout *l, struct layer_tree *tree, uint32_t root, uint32_t devices)
{
	*l = (struct erofs_layout){ .tree = tree };
	l->dot = tree_add(tree, 0, ".", 1, 0);
	l->dots = tree_add(tree, 0, "..", 2, 0);
	uint32_t directories = 1;
	for (uint32_t i = 1; i < tree->node_count; i++)
		directories += S_ISDIR(inode_of(tree, i)->mode);
	l->directories = allocate(directories * sizeof *l->directories);
	l->children = allocate(((size_t)tree->node_count + 2 * (size_t)directories) * sizeof *l->children);
	l->inodes = allocate(tree->inode_count * sizeof *l->inodes);
	l->shared = allocate(tree->xattrs.count * sizeof *l->shared);
	meet_directory(l, root);
	for (uint32_t i = 0; i < l->directory_count; i++)
		meet_children(l, &l->directories[i]);
	l->time = most_frequent_time(l);
	l->inode_block = blocks_of(EROFS_SUPER_AT + sizeof(struct erofs_super) + devices * sizeof(struct erofs_device));
	place_data(l, l->inode_block + blocks_of(place_inodes(l)));
	l->blocks = l->xattr_block + blocks_of(place_shared(l));
	if (l->blocks > MAX_BLOCKS)
		fail(EFBIG, "the index of a layer");
}

void layout_free(struct erofs_layout *l)
{
	free(l->directories);
	free(l->children);
	free(l->inodes);
	free(l->shared);
	*l = (struct erofs_layout){ 0 };
}

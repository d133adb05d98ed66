#include "layer-apply.h"
#include "tree.h"
#include <stdlib.h>
#include <string.h>

struct merge {
	struct layer_tree *bottom;
	const struct layer_tree *top;
	uint32_t *inodes, *sets; /* of the top, in the bottom; 0: not there yet */
};

static uint32_t *map(uint32_t count)
{
	uint32_t *numbers = allocate(count * sizeof *numbers);
	memset(numbers, 0, count * sizeof *numbers);
	return numbers;
}

static uint32_t set_in_bottom(struct merge *m, uint32_t set)
{
	const struct xattr_sets *from = &m->top->xattrs;
	if (set == 0 || m->sets[set])
		return m->sets[set];
	uint32_t made = 0;
	for (uint32_t i = 0; i < from->sets[set].count; i++) {
		const struct xattr *a = &from->all[from->members[from->sets[set].first + i]];
		made = xattrs_with(&m->bottom->xattrs, &m->bottom->text, made, a->name, a->name_size, a->value, a->size);
	}
	return m->sets[set] = made;
}

/* Names that share an inode in the top share one in the bottom. */
static uint32_t inode_in_bottom(struct merge *m, uint32_t number)
{
	if (m->inodes[number])
		return m->inodes[number];
	struct inode inode = m->top->inodes[number];
	inode.xattrs = set_in_bottom(m, inode.xattrs);
	if (S_ISLNK(inode.mode))
		inode.target = arena_copy(&m->bottom->text, inode.target, inode.size);
	return m->inodes[number] = tree_new_inode(m->bottom, inode);
}

/* As deep as a path has components. */
static void merge_directory(struct merge *m, uint32_t bottom, uint32_t top)
{
	for (uint32_t child = m->top->nodes[top].first; child; child = m->top->nodes[child].next) {
		const struct node *n = &m->top->nodes[child];
		const struct inode *inode = &m->top->inodes[n->inode];
		if (n->flags & NODE_DEAD)
			continue;
		uint32_t was = tree_find(m->bottom, bottom, n->name, n->name_size);
		if (is_whiteout(inode)) {
			if (was)
				tree_remove(m->bottom, was);
			continue;
		}
		uint32_t number = inode_in_bottom(m, n->inode);
		if (was && S_ISDIR(inode->mode) && S_ISDIR(inode_of(m->bottom, was)->mode) && !(n->flags & NODE_OPAQUE))
			m->bottom->nodes[was].inode = number;
		else
			was = was ? tree_replace(m->bottom, was, number) : tree_add(m->bottom, bottom, n->name, n->name_size, number);
		if (S_ISDIR(inode->mode))
			merge_directory(m, was, child);
	}
}

void layer_merge(struct layer_tree *bottom, uint32_t bottom_root, const struct layer_tree *top, uint32_t top_root)
{
	struct merge m = { bottom, top, map(top->inode_count), map(top->xattrs.set_count) };
	bottom->nodes[bottom_root].inode = inode_in_bottom(&m, top->nodes[top_root].inode);
	if (top->nodes[top_root].flags & NODE_OPAQUE)
		for (uint32_t child = bottom->nodes[bottom_root].first; child; child = bottom->nodes[child].next)
			tree_remove(bottom, child);
	merge_directory(&m, bottom_root, top_root);
	free(m.inodes);
	free(m.sets);
}

#include "layer-tree.h"
#include "tree.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FIRST_SLOTS 1024U
#define NAME_MAX_SIZE 255U

void tree_open(struct layer_tree *t)
{
	*t = (struct layer_tree){ .node_count = 1, .node_room = 256, .inode_count = 1, .inode_room = 256, .slot_count = FIRST_SLOTS };
	/* Without randomness it works as well, against nobody's aim. */
	if (getrandom(&t->secret, sizeof t->secret, GRND_NONBLOCK) != (ssize_t)sizeof t->secret)
		t->secret = 0x243f6a8885a308d3u;
	t->nodes = allocate(t->node_room * sizeof *t->nodes);
	t->inodes = allocate(t->inode_room * sizeof *t->inodes);
	t->slots = allocate(t->slot_count * sizeof *t->slots);
	memset(t->slots, 0, t->slot_count * sizeof *t->slots);
	t->nodes[0] = (struct node){ .name = "" };
	t->inodes[0] = (struct inode){ .mode = 0 };
	xattrs_open(&t->xattrs, t->secret);
}

void tree_close(struct layer_tree *t)
{
	free(t->nodes);
	free(t->inodes);
	free(t->slots);
	arena_free(&t->text);
	xattrs_close(&t->xattrs);
	*t = (struct layer_tree){ 0 };
}

static void *grown(void *array, uint32_t *room, size_t size)
{
	*room *= 2;
	void *more = realloc(array, *room * size);
	if (!more)
		fail(ENOMEM, "memory");
	return more;
}

static uint32_t hash_of(const struct layer_tree *t, uint32_t parent, const char *name, size_t size)
{
	return (uint32_t)secret_hash(t->secret, parent, name, size);
}

/* Where the name is, or would be. */
static uint32_t slot_of(const struct layer_tree *t, uint32_t hash, uint32_t parent, const char *name, size_t size)
{
	uint32_t at = hash & (t->slot_count - 1);
	for (; t->slots[at]; at = (at + 1) & (t->slot_count - 1)) {
		const struct node *n = &t->nodes[t->slots[at]];
		if (n->hash == hash && n->parent == parent && n->name_size == size && memcmp(n->name, name, size) == 0)
			break;
	}
	return at;
}

static void rehash(struct layer_tree *t)
{
	uint32_t *old = t->slots, count = t->slot_count;
	t->slot_count *= 2;
	t->slots = allocate(t->slot_count * sizeof *t->slots);
	memset(t->slots, 0, t->slot_count * sizeof *t->slots);
	for (uint32_t i = 0; i < count; i++) {
		if (!old[i])
			continue;
		uint32_t at = t->nodes[old[i]].hash & (t->slot_count - 1);
		while (t->slots[at])
			at = (at + 1) & (t->slot_count - 1);
		t->slots[at] = old[i];
	}
	free(old);
}

uint32_t tree_new_inode(struct layer_tree *t, struct inode inode)
{
	if (t->inode_count == t->inode_room)
		t->inodes = grown(t->inodes, &t->inode_room, sizeof *t->inodes);
	t->inodes[t->inode_count] = inode;
	return t->inode_count++;
}

static uint32_t new_node(struct layer_tree *t, struct node node)
{
	if (t->node_count > MAX_NODES)
		fail(EBADMSG, "cannot read the archive: more than %u files and directories", MAX_NODES);
	if (t->node_count == t->node_room)
		t->nodes = grown(t->nodes, &t->node_room, sizeof *t->nodes);
	t->nodes[t->node_count] = node;
	return t->node_count++;
}

uint32_t tree_new_root(struct layer_tree *t, struct inode inode)
{
	return new_node(t, (struct node){ .name = "", .inode = tree_new_inode(t, inode) });
}

uint32_t tree_find(const struct layer_tree *t, uint32_t parent, const char *name, size_t size)
{
	uint32_t node = t->slots[slot_of(t, hash_of(t, parent, name, size), parent, name, size)];
	return t->nodes[node].flags & NODE_DEAD ? 0 : node;
}

static void check_length(const struct layer_tree *t, uint32_t parent, const char *name, size_t size)
{
	char quoted[300];
	if (size > NAME_MAX_SIZE || t->nodes[parent].path_size + 1 + size > TAR_MAX_PATH)
		fail(EBADMSG, "cannot read the archive: %s is longer than Linux takes", tar_quoted(name, size, quoted, sizeof quoted));
}

static uint32_t link_node(struct layer_tree *t, uint32_t slot, struct node node)
{
	node.next = t->nodes[node.parent].first;
	uint32_t made = new_node(t, node);
	t->nodes[node.parent].first = made;
	t->slots[slot] = made;
	return made;
}

uint32_t tree_add(struct layer_tree *t, uint32_t parent, const char *name, size_t size, uint32_t inode)
{
	check_length(t, parent, name, size);
	if (t->node_count * 2 >= t->slot_count)
		rehash(t);
	struct node node = {
		.parent = parent,
		.inode = inode,
		.hash = hash_of(t, parent, name, size),
		.name_size = (uint16_t)size,
		.path_size = (uint16_t)(t->nodes[parent].path_size + (t->nodes[parent].path_size > 0) + size),
	};
	uint32_t slot = slot_of(t, node.hash, parent, name, size);
	/* A dead one of the same name lends its text. */
	node.name = t->slots[slot] ? t->nodes[t->slots[slot]].name : arena_copy(&t->text, name, size);
	return link_node(t, slot, node);
}

uint32_t tree_replace(struct layer_tree *t, uint32_t node, uint32_t inode)
{
	struct node *old = &t->nodes[node];
	struct node made = {
		.parent = old->parent,
		.inode = inode,
		.hash = old->hash,
		.name = old->name,
		.name_size = old->name_size,
		.path_size = old->path_size,
		.flags = old->flags & NODE_HIDES,
	};
	uint32_t slot = slot_of(t, old->hash, old->parent, old->name, old->name_size);
	old->flags |= NODE_DEAD;
	return link_node(t, slot, made);
}

void tree_remove(struct layer_tree *t, uint32_t node)
{
	t->nodes[node].flags |= NODE_DEAD;
}

size_t tree_path(const struct layer_tree *t, uint32_t node, char *out)
{
	size_t size = t->nodes[node].path_size, at = size;
	out[size] = 0;
	for (uint32_t n = node; t->nodes[n].name_size > 0; n = t->nodes[n].parent) {
		at -= t->nodes[n].name_size;
		memcpy(out + at, t->nodes[n].name, t->nodes[n].name_size);
		if (at > 0)
			out[--at] = '/';
	}
	return size;
}

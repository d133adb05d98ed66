/*
 * A layer in memory: what unpacking its tar would leave in a directory (../../src/layer/unpack.ts, mode `overlay`), or
 * what the layers of a stack leave together. File contents stay where they are, in the tars.
 *
 * Nodes are names, inodes what they name; both are numbers, so that the arrays may move while they grow. Node 0 is no
 * node. Bounded: an archive with more than MAX_NODES names, implied directories included, is refused.
 */
#ifndef TSB_LAYER_TREE_H
#define TSB_LAYER_TREE_H
#include "arena.h"
#include "tar-read.h"
#include "xattr-sets.h"
#include <sys/stat.h>

#define MAX_NODES (1U << 21)

enum {
	NODE_DEAD = 1,   /* replaced or deleted, with all that is below it */
	NODE_HIDES = 2,  /* nothing of the parents shows at or below it */
	NODE_OPAQUE = 4, /* a directory that says so to overlayfs */
};

struct node {
	uint32_t parent, first, next; /* children as a chain, the latest first, dead ones among them */
	uint32_t inode, hash;
	const char *name;
	uint16_t name_size, path_size;
	uint8_t flags;
};

struct inode {
	uint64_t size;   /* of a file or a symlink's target */
	union {
		uint64_t offset; /* of a file's content in its tar */
		uint64_t device; /* as mknod(2) has it */
		const char *target;
		uint64_t place; /* of a directory: for whoever writes it down */
	};
	int64_t mtime;
	uint32_t nsec, uid, gid;
	uint32_t xattrs; /* a set, 0: none */
	uint32_t links;  /* counted by whoever writes it down */
	uint32_t number; /* likewise */
	uint16_t mode;   /* with the type */
	uint16_t tar;    /* which one the content lies in */
};

struct layer_tree {
	struct node *nodes;
	struct inode *inodes;
	uint32_t node_count, node_room, inode_count, inode_room;
	uint32_t *slots; /* of the table from (parent, name) to node */
	uint32_t slot_count;
	uint64_t secret; /* of its hash, so that no archive can aim at one slot */
	struct arena text;
	struct xattr_sets xattrs;
};

void tree_open(struct layer_tree *t);
void tree_close(struct layer_tree *t);

/* A root without a name. */
uint32_t tree_new_root(struct layer_tree *t, struct inode inode);
/* 0: there is none. */
uint32_t tree_find(const struct layer_tree *t, uint32_t parent, const char *name, size_t size);
/* A name that is not there yet, for an inode. fail() where there are too many, or where it is too long for Linux. */
uint32_t tree_add(struct layer_tree *t, uint32_t parent, const char *name, size_t size, uint32_t inode);
/* The same name for another inode: a new node without children; NODE_HIDES is kept. */
uint32_t tree_replace(struct layer_tree *t, uint32_t node, uint32_t inode);
void tree_remove(struct layer_tree *t, uint32_t node);
uint32_t tree_new_inode(struct layer_tree *t, struct inode inode);
/* Path of a node, without a leading slash; into TAR_MAX_PATH + 1 bytes. */
size_t tree_path(const struct layer_tree *t, uint32_t node, char *out);

static inline struct inode *inode_of(const struct layer_tree *t, uint32_t node)
{
	return &t->inodes[t->nodes[node].inode];
}

static inline int is_whiteout(const struct inode *inode)
{
	return S_ISCHR(inode->mode) && inode->device == 0;
}

#endif

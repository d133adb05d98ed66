/* Where everything of a tree lies in its EROFS image. */
#ifndef TSB_EROFS_LAYOUT_H
#define TSB_EROFS_LAYOUT_H
#include "layer-tree.h"

/* In the order in which they lie in the image, parents before children. */
struct erofs_directory {
	uint32_t node;
	uint32_t first, count; /* of `children`; `.` and `..` are among them */
	uint64_t size;         /* of its entries */
	uint64_t block;        /* of the first, where they are not behind the inode */
};

struct erofs_layout {
	struct layer_tree *tree;
	uint32_t dot, dots; /* the nodes that stand for `.` and `..` in every directory */
	struct erofs_directory *directories;
	uint32_t directory_count;
	uint32_t *children; /* nodes, those of one directory sorted */
	uint32_t child_count;
	uint32_t *inodes;   /* numbers in the tree, in the order of the image */
	uint32_t inode_count;
	uint32_t *shared;   /* attributes that several inodes have, likewise */
	uint32_t shared_count;
	int64_t time;       /* what most files have */
	uint64_t inode_block, directory_block, target_block, xattr_block, blocks;
};

/*
 * `devices`: how many there will be. Numbers the inodes (inode.number is an EROFS inode number), counts links and says
 * where directories are written down (inode.place: which of `directories`).
 */
void layout_make(struct erofs_layout *l, struct layer_tree *tree, uint32_t root, uint32_t devices);
void layout_free(struct erofs_layout *l);

int layout_is_compact(const struct erofs_layout *l, const struct inode *inode);
/* Whether its entries, or a symlink's target, lie behind the inode. */
int layout_is_inline(const struct erofs_layout *l, const struct inode *inode);
/* Bytes of an inode's attributes behind it, a multiple of 4. */
uint32_t layout_xattr_size(const struct layer_tree *tree, uint32_t set);
int layout_is_shared(const struct xattr *a);
/* Of one attribute with its header, a multiple of 4. */
uint32_t layout_entry_size(const struct xattr *a);
/* EROFS's number for the beginning of a name, and how long that is. */
uint8_t xattr_prefix(const struct xattr *a, uint32_t *size);

static inline uint64_t blocks_of(uint64_t size)
{
	return (size + 511) / 512;
}

#endif

/* The entries of a tar, one after the other, become a tree (see layer-tree.h). */
#ifndef TSB_LAYER_APPLY_H
#define TSB_LAYER_APPLY_H
#include "below.h"
#include "layer-tree.h"

struct layer {
	struct layer_tree *tree;
	struct below below;
	uint32_t root;
	uint16_t tar;
	/* The directory of the entry before: most entries follow one of the same directory. */
	uint32_t latest;
	char latest_path[TAR_MAX_PATH + 1];
};

void layer_begin(struct layer *l, struct layer_tree *tree, uint32_t root, struct below below, uint16_t tar);
/* fail(EBADMSG) for what no layer may hold. */
void layer_add(struct layer *l, const struct tar_entry *entry);

/* When it is complete: as overlayfs wants it, which looks for an attribute of opaque directories. */
void layer_end(struct layer *l);

/*
 * Puts the layer `top` over the layers in `bottom`, which are all that there is below it: what is deleted is gone, and
 * nothing says so any more. `top` stays as it is.
 */
void layer_merge(struct layer_tree *bottom, uint32_t bottom_root, const struct layer_tree *top, uint32_t top_root);

#endif

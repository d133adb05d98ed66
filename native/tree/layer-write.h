/* A layer in memory (layer-tree.h) becomes files in a directory. */
#ifndef TSB_LAYER_WRITE_H
#define TSB_LAYER_WRITE_H
#include "layer-tree.h"

/*
 * `directory` is empty, nobody else's, and stays the caller's. `tars` are what inodes say by number, readable at any place.
 * Owners, modes, attributes and times come last of each entry, of directories after what is in them; attributes that the
 * file system does not take are left out. fail() with an errno and the entry's path.
 */
void layer_write(int directory, struct layer_tree *tree, uint32_t root, const int *tars);

#endif

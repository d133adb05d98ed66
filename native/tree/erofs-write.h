/* A tree as an EROFS image that holds everything but the contents of files: those are blocks of its extra devices. */
#ifndef TSB_EROFS_WRITE_H
#define TSB_EROFS_WRITE_H
#include "layer-tree.h"

struct erofs_source {
	uint64_t size;   /* bytes of a tar, which is one of the devices */
	uint8_t tag[64]; /* what it is known by; its digest in hex */
};

/*
 * Writes the image from where `fd` stands. The n-th source is what inode.tar means by n. fail(EFBIG) where they are
 * larger together than what the format can name (2 TiB). The tree is not to be used afterwards.
 */
void erofs_write(int fd, struct layer_tree *tree, uint32_t root, const struct erofs_source *sources, uint32_t count);

#endif

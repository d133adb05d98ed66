/* What lies below a layer: asked for directories that a tar implies, and for links of its parents that lead into it. */
#ifndef TSB_BELOW_H
#define TSB_BELOW_H
#include "layer-tree.h"

enum below_kind {
	BELOW_NOTHING,
	BELOW_DIRECTORY, /* a descriptor */
	BELOW_TREE,      /* a root in the same tree */
	BELOW_MISSING,   /* there is something, which was not given: whoever asks ends the job, see below_is_needed */
};

struct below {
	enum below_kind kind;
	int fd;
	const struct layer_tree *tree;
	uint32_t root;
};

struct below_entry {
	mode_t mode; /* with the type */
	uint32_t uid, gid, nsec;
	int64_t mtime;
	char target[TAR_MAX_PATH]; /* of a symlink */
};

/* What is at a path whose directories are no links; 0: nothing. */
int below_look(const struct below *b, const char *path, struct below_entry *entry);

/* Of whoever can give it: the job ends and is called again. */
_Noreturn void below_is_needed(void);

#endif

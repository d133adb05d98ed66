/* Lower directories of overlays, where they are images of layers each mounted once as long as this process lives. */
#ifndef TSB_LAYERS_H
#define TSB_LAYERS_H
#include "../erofs-mount.h"
#include "sandbox.h"

/* By the parent, before the clone: mounts the images of all overlays in the plan. 0; -1 with errno, p->op and p->what */
int layers_prepare(struct parent *p);

/* The next lower directory in a payload. */
struct lower take_lower(struct cursor *c);
/*
 * Its descriptor, -1 with errno. *is_borrowed: it stays ours, and is what others see as well: whoever changes a mount
 * clones it before.
 */
int lower_open(const struct lower *lower, int *is_borrowed);
/* The same as a mount of its own, attached nowhere. */
int lower_clone(const struct lower *lower);
/* Adds it to an overlay that is being made; where it must be attached for that it is, onto `point`, and *attached counts it. */
int lower_add(int fs, const struct lower *lower, const char *point, int *attached);

#endif

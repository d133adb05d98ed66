/* Subvolumes of btrfs. Each returns 0 or -errno: -ENOTTY where the file system is another. */
#ifndef TSB_SUBVOLUME_H
#define TSB_SUBVOLUME_H
#include <stdint.h>

/* An empty one, as the directory `name` in `directory`. */
int64_t subvolume_create(const char *directory, const char *name);
/* One that is as the subvolume `source` is now, and shares its blocks. What other subvolumes lie in that are empty directories. */
int64_t subvolume_snapshot(const char *directory, const char *name, const char *source);
/* With all that is in it, at once. -ENOTEMPTY: others lie in it. */
int64_t subvolume_remove(const char *directory, const char *name);

#endif

/*
 * Lower directories of overlays, which are directories of the host or EROFS images over tars. In lists of strings a
 * directory is its path, an image is "", how it is mounted (see LOWER_*, one letter each), the image's path, the tars'
 * paths and "" again.
 */
#ifndef TSB_EROFS_MOUNT_H
#define TSB_EROFS_MOUNT_H

#define LOWER_FILE 'f' /* the kernel mounts files */
#define LOWER_LOOP 'l' /* it mounts block devices alone, so loop devices are made of them */
#define LOWER_ATTACHED 'a' /* overlayfs takes nothing that is mounted nowhere (before Linux 6.15) */

struct lower {
	const char *directory; /* NULL: an image */
	const char *how, *image;
	const char *tars; /* `count` of them, each with its NUL */
	unsigned count;
};

/* `next` gives the strings of a list one after the other; a list that is over gives "". */
struct lower lower_read(const char *(*next)(void *context), void *context);

/*
 * The image, mounted nowhere: it ends with the descriptor that is returned, its loop devices with it. -1 and errno. Nothing is
 * kept but what the kernel holds. Whoever asks needs CAP_SYS_ADMIN in the first user namespace.
 */
int erofs_mount(const struct lower *lower);

static inline int lower_is_attached(const struct lower *lower)
{
	return lower->how[0] && lower->how[1] == LOWER_ATTACHED;
}

#endif

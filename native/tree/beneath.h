/* Opening what lies beneath a directory; no symlink is followed, and no `..`. */
#ifndef TSB_BENEATH_H
#define TSB_BENEATH_H
#include <stddef.h>

/*
 * `path` is relative, '/' between its names, of any length, without NUL; empty means `root` itself. A descriptor
 * with O_CLOEXEC, or -1 with errno: ELOOP where a symlink is on the way or at the end.
 */
int open_beneath(int root, const char *path, size_t length, int flags);

#endif

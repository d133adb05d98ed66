/*
 * openat2(2) beneath a root, again where the kernel asks for it: `..` is refused with EAGAIN while anything on the machine
 * is being renamed or mounted, since it cannot tell then whether the path stayed inside.
 */
#ifndef TSB_OPENAT2_H
#define TSB_OPENAT2_H
#include <errno.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Somebody who renames without end must not hold us up for ever: milliseconds. */
#define OPENAT2_TRIES 10000

static inline int openat2_beneath(int at, const char *path, const struct open_how *how)
{
	for (int tries = 1;; tries++) {
		int fd = (int)syscall(SYS_openat2, at, path, how, sizeof *how);
		if (fd >= 0 || errno != EAGAIN || tries >= OPENAT2_TRIES)
			return fd;
	}
}

#endif

#include "overlay.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef FSCONFIG_SET_FD
#define FSCONFIG_SET_FD 5
#endif

/* A directory that every host has and that we do not look into. */
#define POINT "/sys"

const char *next_in_list(void *context)
{
	const char **at = context, *string = *at;
	*at += strlen(string) + 1;
	return string;
}

static int close_keeping_errno(int fd)
{
	int error = errno;
	if (fd >= 0)
		close(fd);
	errno = error;
	return -1;
}

/* option: lowerdir+, upperdir or workdir; the descriptor is closed */
static int add(int fs, const char *option, int fd)
{
	char link[40];
	if (fd < 0)
		return -1;
	/* why: a descriptor has no length limit (kernel >= 6.13); the string form (6.8) allows 255 bytes. */
	int done = (int)syscall(SYS_fsconfig, fs, FSCONFIG_SET_FD, option, NULL, fd);
	if (done < 0 && (errno == EINVAL || errno == EBADF)) {
		snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
		done = (int)syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, option, link, 0);
	}
	close_keeping_errno(fd);
	return done;
}

static int open_directory(const char *path)
{
	return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int open_lower(const struct lower *lower, const char *point)
{
	if (lower->directory)
		return open_directory(lower->directory);
	int fd = erofs_mount(lower);
	if (fd >= 0 && point && syscall(SYS_move_mount, fd, "", AT_FDCWD, point, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return close_keeping_errno(fd);
	return fd;
}

static int configure(int fs, const char *lowers, unsigned count, const char *upper, const char *work, const char *point)
{
	static const char *const off[] = { "metacopy", "redirect_dir", "index", "xino" };
	for (unsigned i = 0; i < sizeof off / sizeof *off; i++)
		if (syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, off[i], "off", 0) < 0)
			return -1;
	for (unsigned i = 0; i < count; i++) {
		struct lower lower = lower_read(next_in_list, &lowers);
		if (add(fs, "lowerdir+", open_lower(&lower, point)) < 0)
			return -1;
	}
	if (upper && (add(fs, "upperdir", open_directory(upper)) < 0 || add(fs, "workdir", open_directory(work)) < 0))
		return -1;
	return (int)syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
}

int overlay_open(const char *lowers, unsigned count, const char *upper, const char *work, const char *point)
{
	const unsigned attributes = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | (upper ? 0 : MOUNT_ATTR_RDONLY);
	int fs = (int)syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC);
	if (fs < 0)
		return -1;
	int done = configure(fs, lowers, count, upper, work, point);
	int mount = done < 0 ? -1 : (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes);
	close_keeping_errno(fs);
	return mount;
}

struct call {
	const char *lowers, *upper, *work;
	unsigned count;
	int mount, error;
};

/* What is attached here goes with the thread; the overlay keeps what it needs of it. */
static void *attached(void *context)
{
	struct call *c = context;
	if (unshare(CLONE_FS | CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
		c->mount = overlay_open(c->lowers, c->count, c->upper, c->work, POINT);
	c->error = errno;
	return NULL;
}

int overlay_attached(const char *lowers, unsigned count, const char *upper, const char *work)
{
	struct call call = { lowers, upper, work, count, -1, 0 };
	pthread_t thread;
	int error = pthread_create(&thread, NULL, attached, &call);
	if (error == 0) {
		pthread_join(thread, NULL);
		error = call.error;
	}
	errno = error;
	return call.mount;
}

#include "erofs-mount.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* fsconfig(2) takes values of less than 256 bytes. */
#define MAX_VALUE 255
/* A device that was free may be somebody else's a moment later. */
#define LOOP_TRIES 64
#define LOOP_MAJOR 7

struct lower lower_read(const char *(*next)(void *context), void *context)
{
	struct lower lower = { .directory = next(context) };
	if (*lower.directory)
		return lower;
	lower.directory = NULL;
	lower.how = next(context);
	lower.image = next(context);
	lower.tars = next(context);
	for (const char *at = lower.tars; *at; at = next(context))
		lower.count++;
	return lower;
}

static int close_keeping_errno(int fd)
{
	int error = errno;
	if (fd >= 0)
		close(fd);
	errno = error;
	return -1;
}

static int open_device(unsigned number)
{
	char path[32];
	snprintf(path, sizeof path, "/dev/loop%u", number);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	/* A /dev that nobody fills, as in a container, may lack it. */
	if (fd < 0 && errno == ENOENT && mknod(path, S_IFBLK | 0600, makedev(LOOP_MAJOR, number)) == 0)
		fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd;
}

/* A read-only loop device over a file, which goes away with its last user. */
static int open_loop(int file)
{
	struct loop_config config = { .fd = (uint32_t)file, .block_size = 512, .info = { .lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR } };
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int loop = -1;
	for (int i = 0; control >= 0 && loop < 0 && i < LOOP_TRIES; i++) {
		int number = ioctl(control, LOOP_CTL_GET_FREE);
		loop = number < 0 ? -1 : open_device((unsigned)number);
		if (loop < 0)
			break;
		if (ioctl(loop, LOOP_CONFIGURE, &config) < 0) {
			int is_taken = errno == EBUSY;
			loop = close_keeping_errno(loop);
			if (!is_taken)
				break;
		}
	}
	close_keeping_errno(control);
	return loop;
}

static int needs_descriptor(const char *path, int as_loop)
{
	return as_loop || strlen(path) > MAX_VALUE;
}

/* Names a file by its descriptor, or a loop device of it; the descriptor that must stay open until the mount is made. */
static int name_held(int fs, const char *key, const char *path, int as_loop)
{
	char value[40];
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && as_loop) {
		int loop = open_loop(fd);
		close_keeping_errno(fd);
		fd = loop;
	}
	if (fd < 0)
		return -1;
	if (!as_loop)
		snprintf(value, sizeof value, "/proc/self/fd/%d", fd);
	else if (fstat(fd, &st) == 0)
		snprintf(value, sizeof value, "/dev/loop%u", minor(st.st_rdev));
	else
		return close_keeping_errno(fd);
	return syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, key, value, 0) < 0 ? close_keeping_errno(fd) : fd;
}

static int create(int fs)
{
	if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -1;
	return (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY);
}

/* Descriptors that must stay open live on this stack until the file system is made of them. */
static int with_tars(int fs, const char *tars, unsigned count, int as_loop)
{
	for (; count > 0 && !needs_descriptor(tars, as_loop); count--, tars += strlen(tars) + 1)
		if (syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "device", tars, 0) < 0)
			return -1;
	if (count == 0)
		return create(fs);
	int fd = name_held(fs, "device", tars, as_loop);
	if (fd < 0)
		return -1;
	int mount = with_tars(fs, tars + strlen(tars) + 1, count - 1, as_loop);
	close_keeping_errno(fd);
	return mount;
}

static int with_image(int fs, const struct lower *lower)
{
	const int as_loop = lower->how[0] == LOWER_LOOP;
	if (!needs_descriptor(lower->image, as_loop)) {
		if (syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "source", lower->image, 0) < 0)
			return -1;
		return with_tars(fs, lower->tars, lower->count, as_loop);
	}
	int image = name_held(fs, "source", lower->image, as_loop);
	if (image < 0)
		return -1;
	int mount = with_tars(fs, lower->tars, lower->count, as_loop);
	close_keeping_errno(image);
	return mount;
}

int erofs_mount(const struct lower *lower)
{
	int fs = (int)syscall(SYS_fsopen, "erofs", FSOPEN_CLOEXEC);
	if (fs < 0)
		return -1;
	/* why: a device that cannot be written to is mounted for nobody who may want to. */
	int mount = syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0 ? -1 : with_image(fs, lower);
	close_keeping_errno(fs);
	return mount;
}

/*
 * libtsbsys: the system calls that Node lacks, for koffi.
 *
 * Every function returns a value >= 0 or -errno, takes integers, NUL-terminated strings and buffers only, keeps
 * no state and allocates nothing. File descriptors that are returned are O_CLOEXEC and belong to the caller.
 */
#include "device-filter.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <termios.h>
#include <unistd.h>

#define TSB __attribute__((visibility("default")))

#ifndef FSCONFIG_SET_FD
#define FSCONFIG_SET_FD 5
#endif

TSB int64_t tsb_mknod(const char *path, uint32_t mode, uint32_t major, uint32_t minor)
{
	return mknod(path, mode, makedev(major, minor)) < 0 ? -errno : 0;
}

TSB int64_t tsb_lgetxattr(const char *path, const char *name, void *buffer, uint64_t size)
{
	ssize_t n = lgetxattr(path, name, buffer, size);
	return n < 0 ? -errno : n;
}

TSB int64_t tsb_lsetxattr(const char *path, const char *name, const void *value, uint64_t size)
{
	return lsetxattr(path, name, value, size, 0) < 0 ? -errno : 0;
}

TSB int64_t tsb_utimens(const char *path, int64_t seconds, int64_t nanoseconds)
{
	struct timespec time = { .tv_sec = seconds, .tv_nsec = nanoseconds };
	struct timespec both[2] = { time, time };
	return utimensat(AT_FDCWD, path, both, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/*
 * A new regular file with all its attributes: six calls in one, since unpacking a layer does this 50,000 times.
 * -EEXIST where something has the name; a file that could not be completed is removed again.
 */
TSB int64_t tsb_make_file(const char *path, uint32_t mode, uint32_t uid, uint32_t gid, int64_t mtime,
			  const uint8_t *data, uint64_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode & 0777);
	if (fd < 0)
		return -errno;
	struct timespec time = { .tv_sec = mtime };
	struct timespec both[2] = { time, time };
	int64_t error = 0;
	for (uint64_t at = 0; at < size && error == 0;) {
		ssize_t n = write(fd, data + at, size - at);
		if (n > 0)
			at += n;
		else if (n == 0 || errno != EINTR)
			error = n == 0 ? -EIO : -errno;
	}
	/*
	 * why: chown clears setuid bits, so the mode comes after it; writing changes the time, so that comes last.
	 * Looking first is cheaper than a change of the inode that changes nothing.
	 */
	struct stat made;
	if (error == 0 && (fstat(fd, &made) < 0 ||
			   ((made.st_uid != uid || made.st_gid != gid) && fchown(fd, uid, gid) < 0) ||
			   ((made.st_mode & 07777) != mode && fchmod(fd, mode) < 0) || futimens(fd, both) < 0))
		error = -errno;
	if (close(fd) < 0 && error == 0)
		error = -errno;
	if (error < 0)
		unlink(path);
	return error;
}

TSB int64_t tsb_syncfs(int fd)
{
	return syncfs(fd) < 0 ? -errno : 0;
}

TSB int64_t tsb_filter_devices(const char *directory, const uint8_t *program, uint32_t size)
{
	return attach_device_filter(directory, program, size);
}

/* operation as flock(2): LOCK_SH 1, LOCK_EX 2, LOCK_NB 4, LOCK_UN 8 */
TSB int64_t tsb_flock(int fd, int operation)
{
	return flock(fd, operation) < 0 ? -errno : 0;
}

/*
 * Makes a terminal raw, output included (what Node calls raw still turns "\n" into "\r\n"); its settings so far go
 * to `saved`, which has at least 64 bytes, for tsb_tty_restore.
 */
TSB int64_t tsb_tty_raw(int fd, uint8_t *saved)
{
	struct termios was, raw;
	_Static_assert(sizeof was <= 64, "a termios fits into what callers give");
	if (tcgetattr(fd, &was) < 0)
		return -errno;
	memcpy(saved, &was, sizeof was);
	raw = was;
	cfmakeraw(&raw);
	return tcsetattr(fd, TCSANOW, &raw) < 0 ? -errno : 0;
}

TSB int64_t tsb_tty_restore(int fd, const uint8_t *saved)
{
	struct termios was;
	memcpy(&was, saved, sizeof was);
	return tcsetattr(fd, TCSADRAIN, &was) < 0 ? -errno : 0;
}

/* option: lowerdir+, upperdir or workdir */
static int64_t add_directory(int fs, const char *option, const char *path)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* why: a descriptor has no length limit (kernel >= 6.13); the string form (6.8) allows 255 bytes. */
	int64_t done = syscall(SYS_fsconfig, fs, FSCONFIG_SET_FD, option, NULL, fd);
	if (done < 0 && (errno == EINVAL || errno == EBADF))
		done = syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, option, path, 0);
	int64_t error = done < 0 ? -errno : 0;
	close(fd);
	return error;
}

static int64_t overlay(const char *paths, uint32_t count, const char *upper, const char *work, unsigned attributes)
{
	int fs = syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC);
	if (fs < 0)
		return -errno;
	int64_t error = 0;
	static const char *const options[][2] = {
		{ "metacopy", "off" }, { "redirect_dir", "off" }, { "index", "off" }, { "xino", "off" },
	};
	for (unsigned i = 0; i < sizeof options / sizeof *options && error == 0; i++)
		if (syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, options[i][0], options[i][1], 0) < 0)
			error = -errno;
	for (uint32_t i = 0; i < count && error == 0; i++, paths += strlen(paths) + 1)
		error = add_directory(fs, "lowerdir+", paths);
	if (error == 0 && upper)
		error = add_directory(fs, "upperdir", upper);
	if (error == 0 && work)
		error = add_directory(fs, "workdir", work);
	if (error == 0 && syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		error = -errno;
	int64_t mounted = error;
	if (error == 0) {
		mounted = syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | attributes);
		if (mounted < 0)
			mounted = -errno;
	}
	close(fs);
	return mounted;
}

/*
 * A read-only overlay of `count` directories (topmost first, `paths` are NUL-terminated one after the other),
 * mounted nowhere: it vanishes with the descriptor that is returned, so a killed process leaks nothing.
 */
TSB int64_t tsb_overlay_view(const char *paths, uint32_t count)
{
	return overlay(paths, count, NULL, NULL, MOUNT_ATTR_RDONLY);
}

/* The same, and what is written goes to `upper`. */
TSB int64_t tsb_overlay_root(const char *paths, uint32_t count, const char *upper, const char *work)
{
	return overlay(paths, count, upper, work, 0);
}

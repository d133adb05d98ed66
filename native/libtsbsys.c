/*
 * libtsbsys: the system calls that Node lacks, for koffi.
 *
 * Every function returns a value >= 0 or -errno, takes integers, NUL-terminated strings and buffers only, and keeps
 * no state. File descriptors that are returned are O_CLOEXEC and belong to the caller.
 */
#include "device-filter.h"
#include "listing-text.h"
#include "overlay.h"
#include "served.h"
#include "spawn.h"
#include "stat-entries.h"
#include "subvolume.h"
#include "tree/walk.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <termios.h>
#include <unistd.h>

#define TSB __attribute__((visibility("default")))

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

/* struct file_system of tree/walk.h for what lies on the device major:minor in the directory `fd`. */
TSB int64_t tsb_file_system(int fd, uint32_t major, uint32_t minor, uint8_t *description)
{
	struct statx st = { .stx_dev_major = major, .stx_dev_minor = minor };
	struct file_system found;
	describe_file_system(fd, &st, &found);
	memcpy(description, &found, sizeof found);
	return 0;
}

/* See subvolume.h; `source` NULL: an empty one. */
TSB int64_t tsb_subvolume(const char *directory, const char *name, const char *source)
{
	return source ? subvolume_snapshot(directory, name, source) : subvolume_create(directory, name);
}

TSB int64_t tsb_subvolume_remove(const char *directory, const char *name)
{
	return subvolume_remove(directory, name);
}

TSB int64_t tsb_filter_devices(const char *directory, const uint8_t *program, uint32_t size)
{
	return attach_device_filter(directory, program, size);
}

/* A file in memory without a name, closed on exec; `name` is for /proc. */
TSB int64_t tsb_memory_file(const char *name)
{
	int fd = memfd_create(name, MFD_CLOEXEC);
	return fd < 0 ? -errno : fd;
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

/*
 * An overlay, mounted nowhere: it vanishes with the descriptor that is returned, so a killed process leaks nothing.
 * `lowers`: `count` lower directories as erofs-mount.h has them in lists, topmost first. `upper` and `work` may be NULL:
 * then it is read-only. `is_attached`: overlayfs takes images only where they are attached, which is done in a mount
 * namespace that lives as long as this call.
 */
TSB int64_t tsb_overlay(const char *lowers, uint32_t count, const char *upper, const char *work, uint32_t is_attached)
{
	int mount = is_attached ? overlay_attached(lowers, count, upper, work) : overlay_open(lowers, count, upper, work, NULL);
	return mount < 0 ? -errno : mount;
}

/* One image of such a list, mounted nowhere. */
TSB int64_t tsb_erofs(const char *list)
{
	struct lower lower = lower_read(next_in_list, &list);
	int mount = erofs_mount(&lower);
	return mount < 0 ? -errno : mount;
}

/* See served.h. */
TSB int64_t tsb_served(const char *program, const char *options)
{
	int mount = served_mount(program, options, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID);
	return mount < 0 ? -errno : mount;
}

/* spawn.h: the pid; `ours` has room for those of struct sockets. */
TSB int64_t tsb_spawn(const char *path, char *arguments, uint32_t arguments_count, char *environment, uint32_t environment_count,
		      const int32_t *fds, uint32_t fds_count, const char *directory, int32_t *ours)
{
	const struct program program = {
		.path = path,
		.arguments = arguments,
		.arguments_count = arguments_count,
		.environment = environment,
		.environment_count = environment_count,
		.fds = fds,
		.fds_count = fds_count,
		.directory = directory,
	};
	struct sockets sockets = { -1, -1 };
	int64_t pid = spawn_program(&program, &sockets);
	ours[0] = sockets.socket;
	ours[1] = sockets.input;
	return pid;
}

/* Of a child of ours: its status as waitpid(2) has it, or -EAGAIN where it has not ended. */
TSB int64_t tsb_wait(int32_t pid)
{
	int status;
	pid_t done = waitpid(pid, &status, WNOHANG);
	if (done < 0)
		return -errno;
	return done == 0 ? -EAGAIN : status;
}

/* See listing-text.h; a listing is its `count` segments, of which the text begins with the one numbered `first`. */
TSB int64_t tsb_listing_text(const uint8_t *const *segments, const uint64_t *sizes, uint32_t count, uint32_t first, uint32_t flags,
			     const uint8_t *digests, uint32_t files, uint8_t *out, uint64_t room)
{
	struct listing_reader reader = { .segments = segments, .sizes = sizes, .count = count };
	return listing_text((struct listing_part){ reader, first }, flags, (struct listing_contents){ digests, files }, out, room);
}

/* See stat-entries.h; `unknown` has room for those of struct unknown_files. */
TSB int64_t tsb_find_digests(const uint8_t *const *segments, const uint64_t *sizes, uint32_t count, const uint32_t *places,
			     uint32_t place_count, const uint8_t *entries, uint32_t entry_count, uint8_t *used, uint8_t *digests,
			     uint8_t *known, uint32_t files, const uint8_t *empty, double *unknown)
{
	struct listing_reader reader = { .segments = segments, .sizes = sizes, .count = count };
	struct stat_entries all = { (const struct stat_entry *)entries, entry_count, used };
	struct unknown_files found;
	int64_t result = find_digests(reader, (const struct stat_place *)places, place_count, all,
				      (struct file_digests){ digests, known, files, empty }, &found);
	memcpy(unknown, &found, sizeof found);
	return result;
}

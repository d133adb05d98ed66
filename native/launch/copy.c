/* Copying a small tree into a tmpfs: directories, files, symlinks and nodes, with owner, mode and time. */
#include "sandbox.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

static int copy_bytes(int from, int to)
{
	ssize_t n;
	while ((n = sendfile(to, from, NULL, 1 << 20)) > 0)
		;
	return (int)n;
}

static int copy_file(int from, int to, const char *name)
{
	int source = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	int target = source < 0 ? -1 : openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int done = target < 0 ? -1 : copy_bytes(source, target);
	int error = errno;
	if (source >= 0)
		close(source);
	if (target >= 0)
		close(target);
	errno = error;
	return done;
}

static int copy_link(int from, int to, const char *name)
{
	char link[PATH_MAX];
	ssize_t n = readlinkat(from, name, link, sizeof link - 1);
	if (n < 0)
		return -1;
	link[n] = 0;
	return symlinkat(link, to, name);
}

static int copy_directory(int from, int to, const char *name)
{
	if (mkdirat(to, name, 0700) < 0)
		return -1;
	int source = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int target = source < 0 ? -1 : openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int done = target < 0 ? -1 : copy_up(source, target);
	int error = errno;
	if (source >= 0)
		close(source);
	if (target >= 0)
		close(target);
	errno = error;
	return done;
}

static int copy_entry(int from, int to, const char *name)
{
	struct stat st;
	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -1;
	int done;
	if (S_ISDIR(st.st_mode))
		done = copy_directory(from, to, name);
	else if (S_ISREG(st.st_mode))
		done = copy_file(from, to, name);
	else if (S_ISLNK(st.st_mode))
		done = copy_link(from, to, name);
	else
		done = mknodat(to, name, st.st_mode, st.st_rdev);
	struct timespec times[2] = { st.st_atim, st.st_mtim };
	if (done < 0 || fchownat(to, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -1;
	if (!S_ISLNK(st.st_mode) && fchmodat(to, name, st.st_mode & 07777, 0) < 0)
		return -1;
	return utimensat(to, name, times, AT_SYMLINK_NOFOLLOW);
}

int copy_up(int from, int to)
{
	DIR *entries = fdopendir(dup(from));
	if (!entries)
		return -1;
	int done = 0;
	struct dirent *entry;
	while (done == 0 && (entry = readdir(entries)))
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			done = copy_entry(from, to, entry->d_name);
	int error = errno;
	closedir(entries);
	errno = error;
	return done;
}

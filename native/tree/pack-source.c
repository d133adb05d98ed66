#include "pack-source.h"
#include "beneath.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* why: opening a fifo that took the file's place must not wait for somebody to write into it. */
#define OPEN_FILE (O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

void source_init(struct source *source, const struct pack_plan *plan)
{
	*source = (struct source){ .plan = plan, .fd = -1, .directory = -1, .path = allocate(2 * PLAN_MAX_PATH + 1) };
}

static _Noreturn void refuse(const struct source *source, int error)
{
	int is_other = error == ENOENT || error == ELOOP || error == ENOTDIR || error == EISDIR || error == ENXIO;
	if (is_other || error == ESTALE)
		fail(ESTALE, "%s", source->path);
	fail(error, "read %s", source->path);
}

static void check(const struct source *source, const struct planned *planned)
{
	struct stat st;
	if (fstat(source->fd, &st) < 0)
		refuse(source, errno);
	if (!S_ISREG(st.st_mode) || st.st_ino != planned->inode || (uint64_t)st.st_size != planned->tar.size ||
	    st.st_ctim.tv_sec != planned->ctime || st.st_ctim.tv_nsec != (long)planned->ctime_ns)
		refuse(source, ESTALE);
}

/* The directory of `path`, which is open already where the file before was in it too. */
static void enter_directory(struct source *source, const struct planned *planned, const char *path, size_t length)
{
	const struct pack_root *root = &source->plan->roots[planned->from];
	int is_same = source->directory >= 0 && source->root == planned->from && source->directory_length == length &&
		      memcmp(source->path, path, length) == 0;
	if (is_same)
		return;
	if (source->directory >= 0)
		close(source->directory);
	source->directory = open_beneath(source->plan->first_fd + (int)root->descriptor, path, length, O_PATH | O_DIRECTORY);
	source->root = planned->from;
	source->directory_length = length;
}

static void open_file(struct source *source, const struct planned *planned)
{
	const struct pack_root *root = &source->plan->roots[planned->from];
	const struct tar_entry *tar = &planned->tar;
	char path[2 * PLAN_MAX_PATH + 1];
	size_t length = root->length + tar->path_length - root->cut;
	memcpy(path, root->prefix, root->length);
	memcpy(path + root->length, tar->path + root->cut, tar->path_length - root->cut);
	path[length] = 0;
	const char *slash = memrchr(path, '/', length);
	enter_directory(source, planned, path, slash ? (size_t)(slash - path) : 0);
	int error = errno;
	memcpy(source->path, path, length + 1);
	source->path_length = length;
	if (source->directory < 0)
		refuse(source, error);
	source->fd = openat(source->directory, source->path + (slash ? slash - path + 1 : 0), OPEN_FILE);
	if (source->fd < 0)
		refuse(source, errno);
}

void source_open(struct source *source, const struct planned *planned)
{
	if (planned->source != SOURCE_FILE)
		return;
	open_file(source, planned);
	check(source, planned);
}

void source_read(struct source *source, const struct planned *planned, uint64_t offset, uint8_t *to, size_t size)
{
	if (planned->source == SOURCE_INLINE) {
		memcpy(to, planned->bytes + offset, size);
		return;
	}
	int is_range = planned->source == SOURCE_RANGE;
	for (size_t done = 0; done < size;) {
		ssize_t n = is_range ? pread(source->plan->first_fd + (int)planned->from, to + done, size - done,
					     (off_t)(planned->offset + offset + done)) :
				       read(source->fd, to + done, size - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 && is_range)
			fail(n < 0 ? errno : EIO, "read what is to be packed");
		if (n <= 0)
			refuse(source, n < 0 ? errno : ESTALE);
		done += (size_t)n;
	}
}

void source_close(struct source *source, const struct planned *planned)
{
	if (planned->source != SOURCE_FILE)
		return;
	check(source, planned);
	close(source->fd);
	source->fd = -1;
}

void source_end(struct source *source)
{
	if (source->directory >= 0)
		close(source->directory);
	free(source->path);
}

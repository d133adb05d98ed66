/*
 * The disk catches up with what a command made, which need not wait for it (src/layer/unsynced.ts). This process outlives
 * the command, holds nothing of it, and ends by itself.
 */
#include "write-back.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/*
 * Nobody's terminal; and a machine that is shut down in order, or a job that is over, tells everybody to end first: that ends the
 * delay, not the work.
 */
static void outlive(int delay)
{
	sigset_t early;
	sigemptyset(&early);
	sigaddset(&early, SIGTERM);
	sigprocmask(SIG_BLOCK, &early, NULL);
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	setsid();
	if (delay > 0)
		sigtimedwait(&early, NULL, &(struct timespec){ delay / 1000, delay % 1000 * 1000000L });
}

/* Of the file system that was written last: layers and snapshots have one each, the same as a rule. */
struct written {
	dev_t device;
	int is_known;
};

/* Nothing where somebody else has removed the note, or all of the state. */
static int sync_around(const char *note, struct written *written)
{
	struct stat st;
	int fd = open(note, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : errno;
	int error = fstat(fd, &st) < 0 ? errno : 0;
	if (!error && !(written->is_known && written->device == st.st_dev)) {
		/* why all of it: the records and names that go with a layer are worth as much, and are many. */
		error = syncfs(fd) < 0 ? errno : 0;
		*written = (struct written){ st.st_dev, !error };
	}
	close(fd);
	return error;
}

static int catch_up(const char *names, const char *end)
{
	struct written written = { 0 };
	for (const char *name = names; name < end; name += strlen(name) + 1) {
		int error = sync_around(name, &written);
		if (error)
			return error;
	}
	for (const char *name = names; name < end; name += strlen(name) + 1)
		if (unlink(name) < 0 && errno != ENOENT && errno != ENOTDIR)
			return errno;
	return 0;
}

int write_back(int notes, int delay)
{
	struct stat st;
	if (fstat(notes, &st) < 0)
		return errno;
	const char *names = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, notes, 0);
	if (names == MAP_FAILED)
		return errno;
	if (names[st.st_size - 1] != '\0')
		return EINVAL;
	outlive(delay);
	return catch_up(names, names + st.st_size);
}

/*
 * The disk catches up with what a command made, which need not wait for it (src/layer/unsynced.ts). This process outlives
 * the command, holds nothing of it but those directories, and ends by itself.
 */
#include "write-back.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Nobody's terminal; and a machine that is shut down in order tells everybody to end first, and waits. */
static void outlive(void)
{
	setsid();
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
}

static int remove_notes(int notes)
{
	struct stat st;
	if (fstat(notes, &st) < 0)
		return errno;
	if (st.st_size == 0)
		return 0;
	const char *names = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, notes, 0);
	if (names == MAP_FAILED)
		return errno;
	if (names[st.st_size - 1] != '\0')
		return EINVAL;
	for (const char *name = names; name < names + st.st_size; name += strlen(name) + 1)
		if (unlink(name) < 0 && errno != ENOENT)
			return errno;
	return 0;
}

int write_back(int notes, int directories)
{
	outlive();
	for (int fd = directories; fcntl(fd, F_GETFD) >= 0; fd++)
		if (syncfs(fd) < 0)
			return errno;
	return remove_notes(notes);
}

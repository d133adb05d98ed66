/* Which job, its request, its confinement. */
#include "tree.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define REQUEST_FD 3
#define MAX_REQUEST (1U << 30)

void confine(int count);

static const struct {
	const char *name;
	job *run;
} jobs[] = {
	{ "apply", apply_job },
	{ "compress", compress_job },
	{ "decompress", decompress_job },
	{ "engines", engines_job },
	{ "hash", hash_job },
	{ "index", index_job },
	{ "pack", pack_job },
	{ "walk", walk_job },
};

static int given;

int descriptors(int at_least)
{
	if (given < at_least)
		fail(0, "%d descriptors were given, %d are needed", given, at_least);
	return given;
}

int processors(void)
{
	cpu_set_t set;
	return sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0 ? CPU_COUNT(&set) : 1;
}

void start_thread(pthread_t *thread, void *(*run)(void *), void *context)
{
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 256 << 10);
	int error = pthread_create(thread, &attributes, run, context);
	if (error)
		fail(error, "starting a thread");
	pthread_attr_destroy(&attributes);
}

static int count_descriptors(void)
{
	int count = 0;
	while (fcntl(FIRST_FD + count, F_GETFD) >= 0)
		count++;
	return count;
}

/* NULL: it comes by a socket. */
static const uint8_t *map_request(size_t *size)
{
	struct stat st;
	if (fstat(REQUEST_FD, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
		return NULL;
	if (st.st_size > MAX_REQUEST)
		fail(E2BIG, "the request");
	void *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, REQUEST_FD, 0);
	if (bytes == MAP_FAILED)
		fail(errno, "reading the request");
	*size = (size_t)st.st_size;
	return bytes;
}

static const uint8_t *read_request(size_t *size)
{
	size_t room = 1 << 16, used = 0;
	uint8_t *bytes = allocate(room);
	for (;;) {
		if (used == room) {
			if (room >= MAX_REQUEST)
				fail(E2BIG, "the request");
			room *= 2;
			bytes = realloc(bytes, room);
			if (!bytes)
				fail(ENOMEM, "the request");
		}
		ssize_t n = read(REQUEST_FD, bytes + used, room - used);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			fail(errno, "reading the request");
		if (n == 0)
			break;
		used += (size_t)n;
	}
	*size = used;
	return bytes;
}

int main(int argc, char **argv)
{
	job *run = NULL;
	for (size_t i = 0; argc == 2 && i < sizeof jobs / sizeof *jobs; i++)
		if (strcmp(argv[1], jobs[i].name) == 0)
			run = jobs[i].run;
	if (!run) {
		fprintf(stderr, "usage: tsbuild-tree JOB  (started by tsbuild, not by hand)\n");
		return 2;
	}
	/* The caller's death is ours: nobody else wants the answer. */
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	signal(SIGPIPE, SIG_IGN);
	/* why: Ctrl-C reaches the whole process group; ending in order is the caller's decision. */
	signal(SIGINT, SIG_IGN);
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	given = count_descriptors();
	size_t size;
	const uint8_t *bytes = map_request(&size);
	if (!bytes)
		bytes = read_request(&size);
	confine(given);
	run(&(struct request){ bytes, bytes + size, 0 });
	fail(0, "the job %s ended without an answer", argv[1]);
}

/* The cgroups of a plan after its container has ended: was it killed for want of memory, and away with them. */
#include "cgroup.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_PARENT "/tsbuild"
#define DEEPEST 32
#define ROUNDS 200

/* Calls `use` with the directory of each cgroup that the plan makes; adds up what it gives. */
static long each_cgroup(const struct plan *plan, long (*use)(const char *directory, const char *base, const char *path))
{
	long sum = 0;
	for (uint32_t i = 0; i < plan->count; i++) {
		if (plan->ops[i].code != OP_CGROUP_MAKE)
			continue;
		struct cursor c = cursor_of(&plan->ops[i]);
		char directory[PATH_MAX];
		take_u32(&c);
		const char *base = take_string(&c), *path = take_string(&c);
		if (strcmp(path, "/") != 0 && snprintf(directory, sizeof directory, "%s%s", base, path) < (int)sizeof directory)
			sum += use(directory, base, path);
	}
	return sum;
}

/* v1: memory.oom_control, v2: memory.events; both have a line "oom_kill N". */
static long oom_kills(const char *directory, const char *base, const char *path)
{
	static const char *const names[] = { "memory.oom_control", "memory.events" };
	(void)base;
	(void)path;
	for (int i = 0; i < 2; i++) {
		char file[PATH_MAX + 32], text[512];
		snprintf(file, sizeof file, "%s/%s", directory, names[i]);
		int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0)
			continue;
		ssize_t n = read(fd, text, sizeof text - 1);
		close(fd);
		text[n > 0 ? n : 0] = 0;
		const char *line = strstr(text, "oom_kill ");
		return line ? strtol(line + strlen("oom_kill "), NULL, 10) : 0;
	}
	return 0;
}

long cgroup_oom_kills(const struct plan *plan)
{
	return each_cgroup(plan, oom_kills);
}

/* What was made inside first; 0 when nothing is left. */
static int remove_tree(const char *directory, int depth)
{
	if (rmdir(directory) == 0 || errno == ENOENT)
		return 0;
	DIR *entries = depth < DEEPEST ? opendir(directory) : NULL;
	if (!entries)
		return -1;
	for (struct dirent *entry = readdir(entries); entry; entry = readdir(entries)) {
		char inner[PATH_MAX];
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.' &&
		    snprintf(inner, sizeof inner, "%s/%s", directory, entry->d_name) < (int)sizeof inner)
			remove_tree(inner, depth + 1);
	}
	closedir(entries);
	return rmdir(directory) == 0 || errno == ENOENT ? 0 : -1;
}

static long remove_one(const char *directory, const char *base, const char *path)
{
	if (remove_tree(directory, 0) < 0)
		return 1;
	/* The parent of our own making goes with its last child; others who were asked for stay. */
	if (strncmp(path, DEFAULT_PARENT "/", sizeof DEFAULT_PARENT) == 0 && !strchr(path + sizeof DEFAULT_PARENT, '/')) {
		char parent[PATH_MAX];
		if (snprintf(parent, sizeof parent, "%s" DEFAULT_PARENT, base) < (int)sizeof parent)
			rmdir(parent);
	}
	return 0;
}

int cgroup_remove(const struct plan *plan)
{
	/* why: a process that is dying counts for some milliseconds more. */
	for (int round = 0; round < ROUNDS; round++) {
		if (each_cgroup(plan, remove_one) == 0)
			return 0;
		struct timespec pause = { .tv_nsec = round < 20 ? 1000000 : 10000000 };
		nanosleep(&pause, NULL);
	}
	errno = EBUSY;
	return -1;
}

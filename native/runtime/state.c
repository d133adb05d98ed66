#include "state.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static ssize_t read_file(const char *path, char *buffer, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	size_t length = 0;
	for (ssize_t n; length < size - 1 && (n = read(fd, buffer + length, size - 1 - length)) > 0;)
		length += (size_t)n;
	close(fd);
	buffer[length] = 0;
	return (ssize_t)length;
}

const char *file_of(const struct container *c, const char *name)
{
	static char path[PATH_MAX + 64];
	snprintf(path, sizeof path, "%s/%s", c->directory, name);
	return path;
}

static void take_line(struct container *c, const char *key, const char *value)
{
	if (!strcmp(key, "pid"))
		c->pid = (pid_t)strtol(value, NULL, 10);
	else if (!strcmp(key, "start"))
		c->start = strtoull(value, NULL, 10);
	else if (!strcmp(key, "frozen"))
		c->frozen = value;
	else if (!strcmp(key, "head"))
		c->head = value;
	else if (!strcmp(key, "tail"))
		c->tail = value;
	else if (!strcmp(key, "cgroup") && c->cgroups < MAX_CGROUPS)
		c->cgroup[c->cgroups++] = value;
	else if (!strcmp(key, "poststart"))
		c->has_poststart = 1;
	else if (!strcmp(key, "everyone"))
		c->shares_pids = 1;
	else if (!strcmp(key, "poststop"))
		c->has_poststop = 1;
}

int read_container(struct container *c, const char *root, const char *id)
{
	memset(c, 0, sizeof *c);
	if (!*id || strchr(id, '/') || !strcmp(id, ".") || !strcmp(id, "..") ||
	    snprintf(c->directory, sizeof c->directory, "%s/%s", root, id) >= (int)sizeof c->directory)
		return -1;
	if (read_file(file_of(c, "state"), c->text, sizeof c->text) <= 0)
		return -1;
	for (char *line = c->text, *next; *line; line = next) {
		char *end = strchr(line, '\n');
		if (!end)
			return -1;
		*end = 0;
		next = end + 1;
		char *space = strchr(line, ' ');
		if (space)
			*space = 0;
		take_line(c, line, space ? space + 1 : "");
	}
	return c->head && c->tail ? 0 : -1;
}

/* Field 22 of /proc/PID/stat; 0 where the process is gone, or nothing but its exit status is left. */
static uint64_t start_time(pid_t pid)
{
	char path[64], text[1024];
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	if (read_file(path, text, sizeof text) <= 0)
		return 0;
	const char *at = strrchr(text, ')');
	if (!at || at[1] != ' ' || at[2] == 'Z' || at[2] == 'X')
		return 0;
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

/* why: 0 is recorded of a process that was gone before anybody could look. */
static int is_alive(const struct container *c)
{
	return c->start != 0 && start_time(c->pid) == c->start;
}

int open_process(const struct container *c)
{
	int fd = c->pid > 0 ? (int)syscall(SYS_pidfd_open, c->pid, 0) : -1;
	if (fd >= 0 && is_alive(c))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static int is_frozen(const struct container *c)
{
	char text[256];
	if (!c->frozen || read_file(c->frozen, text, sizeof text) <= 0)
		return 0;
	return !strncmp(text, "FROZEN", 6) || strstr(text, "frozen 1") != NULL;
}

enum status status_of(const struct container *c)
{
	if (c->pid == 0)
		return CREATING;
	if (!is_alive(c))
		return STOPPED;
	if (access(file_of(c, "start.sock"), F_OK) == 0)
		return CREATED;
	return is_frozen(c) ? PAUSED : RUNNING;
}

/*
 * The cgroup of a container: made, given its limits and entered, as the plan says.
 *
 * Before the clone the parent makes directories, writes values and opens what the child is born into. The child
 * enters v1 hierarchies by writing "0" to `tasks` files that the parent opened: the kernel looks at the opener's
 * rights, and it needs no lock over all processes of the machine for a thread that moves itself (kernel >= 5.13;
 * cgroup.procs costs an RCU grace period for each hierarchy, 10 ms on a busy machine).
 */
#include "cgroup.h"
#include "../device-filter.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LONGEST_NAME 64

static char place[PATH_MAX];

/* A cgroup's directory into `place`. The path begins with "/" and goes nowhere but down. */
static int find_place(const char *base, const char *path)
{
	errno = EINVAL;
	if (path[0] != '/' || strstr(path, "/../") || (strlen(path) >= 3 && !strcmp(path + strlen(path) - 3, "/..")))
		return -1;
	errno = ENAMETOOLONG;
	return snprintf(place, sizeof place, "%s%s", base, path) < (int)sizeof place ? 0 : -1;
}

int cgroup_write(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -1;
	size_t length = strlen(value);
	ssize_t n = write(fd, value, length);
	int error = n < 0 ? errno : EIO;
	close(fd);
	errno = error;
	return n == (ssize_t)length ? 0 : -1;
}

size_t cgroup_read(const char *path, char *buffer, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = fd < 0 ? 0 : read(fd, buffer, size - 1);
	if (fd >= 0)
		close(fd);
	if (n > 0 && buffer[n - 1] == '\n')
		n--;
	buffer[n > 0 ? n : 0] = 0;
	return n > 0 ? (size_t)n : 0;
}

/* A new v1 cpuset has neither processors nor memory, and nothing can enter it: as much as its parent has. */
static int inherit_cpuset(const char *directory, size_t parent_length)
{
	static const char *const names[] = { "cpuset.cpus", "cpuset.mems" };
	for (int i = 0; i < 2; i++) {
		char path[PATH_MAX + LONGEST_NAME], value[4096];
		snprintf(path, sizeof path, "%s/%s", directory, names[i]);
		if (cgroup_read(path, value, sizeof value) > 0)
			continue;
		snprintf(path, sizeof path, "%.*s/%s", (int)parent_length, directory, names[i]);
		if (cgroup_read(path, value, sizeof value) == 0)
			continue;
		snprintf(path, sizeof path, "%s/%s", directory, names[i]);
		if (cgroup_write(path, value) < 0)
			return -1;
	}
	return 0;
}

static int is_occupied(const char *directory)
{
	char path[PATH_MAX + LONGEST_NAME], value[64];
	snprintf(path, sizeof path, "%s/cgroup.procs", directory);
	return cgroup_read(path, value, sizeof value) > 0;
}

/* Every level of `place` after its first `base` bytes. */
static int make_levels(size_t base, uint32_t flags)
{
	int existed = 0;
	for (char *slash = strchr(place + base + 1, '/');; slash = strchr(slash + 1, '/')) {
		if (slash)
			*slash = 0;
		existed = mkdir(place, 0755) < 0;
		if (existed && errno != EEXIST)
			return -1;
		if (flags & CGROUP_CPUSET && inherit_cpuset(place, (size_t)(strrchr(place, '/') - place)) < 0)
			return -1;
		if (!slash)
			break;
		*slash = '/';
	}
	if (existed && !(flags & CGROUP_SHARED) && is_occupied(place)) {
		errno = EBUSY;
		return -1;
	}
	return 0;
}

static int make_cgroup(struct parent *p, struct cursor c)
{
	uint32_t flags = take_u32(&c);
	const char *base = take_string(&c), *path = take_string(&c);
	p->what = place;
	for (int attempt = 0;; attempt++) {
		if (find_place(base, path) < 0)
			return -1;
		if (make_levels(strlen(base), flags) == 0)
			return 0;
		/* why: another process may have removed a parent, empty by then, between two of our calls. */
		if (errno != ENOENT || attempt == 32)
			return -1;
	}
}

static int has_word(const char *words, const char *word)
{
	size_t length = strlen(word);
	for (const char *at = strstr(words, word); at; at = strstr(at + 1, word))
		if ((at == words || at[-1] == ' ') && (at[length] == ' ' || at[length] == 0))
			return 1;
	return 0;
}

/*
 * Whether a cgroup has processes of its own and is not the root of all: it can then hand down no memory, and would
 * become threaded, its children useless, if it handed down cpu or pids.
 */
static int is_inhabited(const char *directory)
{
	char path[PATH_MAX + LONGEST_NAME];
	snprintf(path, sizeof path, "%s/cgroup.type", directory);
	return access(path, F_OK) == 0 && is_occupied(directory);
}

static int enable_in(const char *directory, struct cursor c, uint32_t required, uint32_t optional)
{
	char path[PATH_MAX + LONGEST_NAME], enabled[1024];
	snprintf(path, sizeof path, "%s/cgroup.subtree_control", directory);
	cgroup_read(path, enabled, sizeof enabled);
	int inhabited = -1;
	for (uint32_t i = 0; i < required + optional; i++) {
		const char *controller = take_string(&c);
		char word[64];
		if (has_word(enabled, controller))
			continue;
		if (inhabited < 0)
			inhabited = is_inhabited(directory);
		errno = EBUSY;
		snprintf(word, sizeof word, "+%s", controller);
		if ((inhabited || cgroup_write(path, word) < 0) && i < required)
			return -1;
	}
	return 0;
}

/* v2: lets every level above a cgroup hand its controllers down. */
static int enable_controllers(struct parent *p, struct cursor c)
{
	uint32_t required = take_u32(&c), optional = take_u32(&c);
	const char *base = take_string(&c), *path = take_string(&c);
	p->what = place;
	if (find_place(base, path) < 0)
		return -1;
	for (char *end = place + strlen(base);; end = strchr(end + 1, '/')) {
		char had = end ? *end : 0;
		if (end)
			*end = 0;
		if (enable_in(place, c, required, optional) < 0)
			return -1;
		if (!end || had == 0)
			return 0;
		*end = had;
	}
}

static int write_value(struct parent *p, struct cursor c)
{
	uint32_t flags = take_u32(&c), choices = take_u32(&c);
	while (choices-- > 0) {
		const char *path = take_string(&c), *value = take_string(&c);
		p->what = path;
		if (cgroup_write(path, value) == 0)
			return 0;
		if (errno != ENOENT)
			break;
	}
	return flags & CGROUP_OPTIONAL ? 0 : -1;
}

static int open_tasks(struct parent *p, struct cursor c)
{
	p->what = take_string(&c);
	if (p->hierarchies == MAX_HIERARCHIES) {
		errno = E2BIG;
		return -1;
	}
	int fd = open(p->what, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -1;
	p->tasks[p->hierarchies++] = fd;
	return 0;
}

static int open_birthplace(struct parent *p, struct cursor c)
{
	p->what = take_string(&c);
	if (p->cgroup >= 0)
		close(p->cgroup);
	p->born = p->op;
	p->cgroup = open(p->what, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return p->cgroup < 0 ? -1 : 0;
}

static int filter_devices(struct parent *p, struct cursor c)
{
	uint32_t size = take_u32(&c);
	p->what = take_string(&c);
	const uint8_t *program = take_bytes(&c, size);
	int done = attach_device_filter(p->what, program, size);
	if (done == 0)
		return 0;
	errno = -done;
	return -1;
}

int cgroup_execute(struct parent *p, const struct op *op)
{
	struct cursor c = cursor_of(op);
	switch (op->code) {
	case OP_CGROUP_MAKE:
		return make_cgroup(p, c);
	case OP_CGROUP_ENABLE:
		return enable_controllers(p, c);
	case OP_CGROUP_WRITE:
		return write_value(p, c);
	case OP_CGROUP_TASKS:
		return open_tasks(p, c);
	case OP_CGROUP_BORN:
		return open_birthplace(p, c);
	case OP_CGROUP_DEVICES:
		return filter_devices(p, c);
	case OP_CGROUP_REALTIME:
		give_realtime(c);
		return 0;
	}
	errno = EINVAL;
	return -1;
}

int op_cgroup_self(struct sandbox *s)
{
	for (int i = 0; i < s->hierarchies; i++) {
		ssize_t n = write(s->tasks[i], "0", 1);
		int error = errno;
		close(s->tasks[i]);
		errno = error;
		if (n != 1)
			return -1;
	}
	return 0;
}

/* why: only now. A cgroup namespace is rooted where its maker is, not where a clone is born. */
int op_cgroup_namespace(void)
{
	return unshare(CLONE_NEWCGROUP);
}

/*
 * Realtime of v1 (CONFIG_RT_GROUP_SCHED): a new cgroup has none, and nobody in it may be SCHED_FIFO or SCHED_RR; and it
 * cannot be given what its parent has not. The parent that containers have in common is ours, and gets what they need.
 */
#include "cgroup.h"
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#define PARTS 1000000 /* shares of a processor are counted in these */

static uint64_t read_number(const char *directory, const char *name)
{
	char path[PATH_MAX + 32], text[32];
	snprintf(path, sizeof path, "%s/%s", directory, name);
	cgroup_read(path, text, sizeof text);
	long long number = strtoll(text, NULL, 10);
	return number > 0 ? (uint64_t)number : 0;
}

static void write_number(const char *directory, const char *name, uint64_t number)
{
	char path[PATH_MAX + 32], text[32];
	snprintf(path, sizeof path, "%s/%s", directory, name);
	snprintf(text, sizeof text, "%llu", (unsigned long long)number);
	cgroup_write(path, text);
}

static uint64_t share_of(uint64_t runtime, uint64_t period)
{
	return period > 0 ? (runtime * PARTS + period - 1) / period : 0;
}

static uint64_t share_of_children(const char *directory)
{
	uint64_t sum = 0;
	DIR *children = opendir(directory);
	for (struct dirent *child; children && (child = readdir(children));) {
		char path[PATH_MAX];
		if (child->d_type != DT_DIR || child->d_name[0] == '.')
			continue;
		if (snprintf(path, sizeof path, "%s/%s", directory, child->d_name) < (int)sizeof path)
			sum += share_of(read_number(path, "cpu.rt_runtime_us"), read_number(path, "cpu.rt_period_us"));
	}
	if (children)
		closedir(children);
	return sum;
}

static void raise(const char *parent, uint64_t share)
{
	uint64_t period = read_number(parent, "cpu.rt_period_us");
	uint64_t wanted = ((share_of_children(parent) + share) * period + PARTS - 1) / PARTS;
	if (read_number(parent, "cpu.rt_runtime_us") < wanted)
		write_number(parent, "cpu.rt_runtime_us", wanted);
}

/* What is refused is told of by whoever needs it: the write of a limit, or of the scheduler. */
void give_realtime(struct cursor c)
{
	uint64_t runtime = take_u32(&c), period = take_u32(&c);
	const char *directory = take_string(&c), *parent = take_string(&c);
	/* why: between counting the children's and being one of them nobody else may count. */
	int lock = *parent ? open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (lock >= 0) {
		flock(lock, LOCK_EX);
		raise(parent, share_of(runtime, period ? period : read_number(directory, "cpu.rt_period_us")));
	}
	if (period)
		write_number(directory, "cpu.rt_period_us", period);
	write_number(directory, "cpu.rt_runtime_us", runtime);
	if (lock >= 0)
		close(lock);
}

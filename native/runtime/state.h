/* What is known of a container: the file that src/runtime/oci/native-state.ts writes, and what the kernel says. */
#ifndef TSB_RUNTIME_STATE_H
#define TSB_RUNTIME_STATE_H
#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

#define MAX_CGROUPS 24

enum status { CREATING, CREATED, RUNNING, PAUSED, STOPPED };

struct container {
	char directory[PATH_MAX];
	char text[1 << 18]; /* the file; the strings below point into it */
	pid_t pid;
	uint64_t start;
	const char *frozen, *head, *tail;
	int cgroups;
	const char *cgroup[MAX_CGROUPS];
	int has_poststart, has_poststop;
	int shares_pids;
};

/* 0; -1 where there is no such container, or its file says less than it must. */
int read_container(struct container *c, const char *root, const char *id);
enum status status_of(const struct container *c);
/* A descriptor of the process, which is the one that was started and no later one with its number; -1 where it is gone. */
int open_process(const struct container *c);
/* ROOT/ID/NAME; a static buffer */
const char *file_of(const struct container *c, const char *name);

#endif

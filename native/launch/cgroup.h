/* The cgroup of a container: what the plan's operations do. */
#ifndef TSB_CGROUP_H
#define TSB_CGROUP_H
#include "sandbox.h"

/* cgroup.c: operations of the parent's and of the child's; 0, or -1 with errno and p->what */
int cgroup_execute(struct parent *p, const struct op *op);
int op_cgroup_self(struct sandbox *s);
int op_cgroup_namespace(void);

/* A small file of a cgroup: 0, or -1 with errno; what it holds without its last newline, 0 bytes where it cannot be read. */
int cgroup_write(const char *path, const char *value);
size_t cgroup_read(const char *path, char *buffer, size_t size);
/* cgroup-realtime.c */
void give_realtime(struct cursor c);

#endif

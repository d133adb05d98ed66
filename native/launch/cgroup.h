/* The cgroup of a container: what the plan's operations do, and what is asked at its end. */
#ifndef TSB_CGROUP_H
#define TSB_CGROUP_H
#include "sandbox.h"

/* cgroup.c: operations of the parent's and of the child's; 0, or -1 with errno and p->what */
int cgroup_execute(struct parent *p, const struct op *op);
int op_cgroup_self(struct sandbox *s);
int op_cgroup_namespace(void);

/* Processes that were killed for want of memory since the plan's cgroups were made; 0 where nothing tells. */
long cgroup_oom_kills(const struct plan *plan);
/* Removes the plan's cgroups; waits up to two seconds for who is dying there. 0, or -1 (EBUSY). */
int cgroup_remove(const struct plan *plan);

#endif

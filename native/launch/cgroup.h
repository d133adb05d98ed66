/* The cgroup of a container: what the plan's operations do. */
#ifndef TSB_CGROUP_H
#define TSB_CGROUP_H
#include "sandbox.h"

/* cgroup.c: operations of the parent's and of the child's; 0, or -1 with errno and p->what */
int cgroup_execute(struct parent *p, const struct op *op);
int op_cgroup_self(struct sandbox *s);
int op_cgroup_namespace(void);

#endif

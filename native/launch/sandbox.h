/* Executing a plan in a freshly cloned process, and the messages that it sends home. */
#ifndef TSB_SANDBOX_H
#define TSB_SANDBOX_H
#include "plan.h"
#include <sys/types.h>

enum message_kind { MESSAGE_ERROR = 1, MESSAGE_WARNING = 2, MESSAGE_TERMINAL = 3 };

/* One datagram on the control socket; a terminal comes with its master as SCM_RIGHTS. */
struct message {
	uint32_t kind, op, error;
	char text[244];
};

/* What an operation works with. */
struct sandbox {
	const struct plan *plan;
	int control;      /* socket to the parent; closed by exec */
	int root;         /* fd of the root mount, -1 before OP_ROOT */
	int dev_null;     /* the host's, checked */
	int files;        /* fd of the tmpfs with generated files, -1 before OP_ROOT */
	int stdio[3];     /* what becomes 0, 1, 2; -1: as they are */
	const int *tasks; /* `tasks` files of v1 cgroups to enter, opened by the parent */
	int hierarchies;
	uint32_t op;      /* index of the operation being executed */
	const char *what; /* detail for an error message */
};

#define MAX_JOINS 8
#define MAX_HIERARCHIES 24

/* The parent's side of a start: what it prepares for the child, and where it failed. */
struct parent {
	const struct plan *plan;
	pid_t pid;  /* of the child, in our pid namespace; 0 before the clone */
	int cgroup; /* directory of a v2 cgroup to be born in, or -1 */
	int hierarchies;
	int tasks[MAX_HIERARCHIES]; /* of v1 cgroups, open for the child */
	int joins;
	struct {
		uint32_t type;
		int fd;
	} join[MAX_JOINS]; /* namespaces that the child enters, in this order */
	uint32_t op;
	const char *what;
};

/* Why nothing was started: index of the operation, detail; errno is the caller's to look at. */
struct problem {
	uint32_t op;
	char text[244];
};

/*
 * Clones a process with the plan's namespaces that executes the plan. Returns its pid and, in *control, the
 * socket on which messages arrive; end of file means that the program runs (or that the process died).
 * -1, errno and *problem where clone or an operation of the parent's failed: nothing of the child is left then.
 * `stdio` descriptors stay the caller's.
 */
pid_t sandbox_start(const struct plan *plan, const int stdio[3], int *control, struct problem *problem);

/* parent.c: one operation of the parent's; 0, or -1 with errno and p->what */
int parent_execute(struct parent *p, const struct op *op);
/* cgroup.c */
int cgroup_execute(struct parent *p, const struct op *op);
int op_cgroup_self(struct sandbox *s);
int op_cgroup_namespace(void);

void send_message(struct sandbox *s, enum message_kind kind, int error, const char *text, int fd);

/* mounts.c; all return 0, or -1 with errno and s->what */
int op_root(struct sandbox *s, struct cursor c);
int op_mount(struct sandbox *s, struct cursor c);
int op_bind(struct sandbox *s, struct cursor c);
int op_assembled(struct sandbox *s, struct cursor c);
int op_file(struct sandbox *s, struct cursor c);
int op_mkdir(struct sandbox *s, struct cursor c);
int op_mknod(struct sandbox *s, struct cursor c);
int op_symlink(struct sandbox *s, struct cursor c);
int op_mask(struct sandbox *s, struct cursor c);
int op_readonly(struct sandbox *s, struct cursor c);
int op_root_readonly(struct sandbox *s);
int op_pivot(struct sandbox *s);
/* an fd inside the root, resolved there; flags as openat2 */
int open_in_root(struct sandbox *s, const char *path, int flags);

/* process.c */
int op_terminal(struct sandbox *s, struct cursor c);
int op_loopback(void);
int op_cwd(struct sandbox *s, struct cursor c);
int op_rlimit(struct sandbox *s, struct cursor c);
int op_oom(struct cursor c);
int op_credentials(struct cursor c);
int op_seccomp(const struct op *op);
int op_exec(struct sandbox *s);

#endif

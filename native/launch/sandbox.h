/* Executing a plan in a freshly cloned process, and the messages that it sends home. */
#ifndef TSB_SANDBOX_H
#define TSB_SANDBOX_H
#include "../unix-socket.h"
#include "plan.h"
#include <sys/types.h>

enum message_kind {
	MESSAGE_ERROR = 1,
	MESSAGE_WARNING = 2,
	MESSAGE_TERMINAL = 3,
	MESSAGE_SYNC = 4, /* `error` is a HOOK_*: run these, then sandbox_go */
	MESSAGE_PID = 5,  /* `error` is the pid of the staged child; sandbox_start keeps it to itself */
};

/* One datagram on the control socket; a terminal comes with its master as SCM_RIGHTS. */
struct message {
	uint32_t kind, op, error;
	char text[244];
};

struct parent;

/* What an operation works with. */
struct sandbox {
	const struct plan *plan;
	const struct parent *parent;
	pid_t pid;        /* ours, as the parent sees it; 0 where it did not say */
	int control;      /* socket to the parent, after OP_WAIT_START to whoever started us; closed by exec */
	int root;         /* fd of the root mount, -1 before OP_ROOT */
	const char *point; /* where it is attached */
	int dev_null;     /* the host's, checked */
	int files;        /* fd of the tmpfs with generated files, -1 before OP_ROOT */
	int proc;         /* fd of a procfs that nobody else sees, -1 before it is needed */
	int stdio[3];     /* what becomes 0, 1, 2; -1: as they are */
	const int *tasks; /* `tasks` files of v1 cgroups to enter, opened by the parent */
	int hierarchies;
	uint32_t op;      /* index of the operation being executed */
	const char *what; /* detail for an error message */
};

#define MAX_JOINS 8
#define MAX_HIERARCHIES 24
#define MAX_TREES 512
#define MAX_IDMAPS 64

/* The parent's side of a start: what it prepares for the child, and where it failed. */
struct parent {
	const struct plan *plan;
	pid_t pid;  /* of the child, in our pid namespace; 0 before the clone */
	int cgroup; /* directory of a v2 cgroup to be born in, or -1 */
	uint32_t born; /* the operation that opened it */
	int hierarchies;
	int tasks[MAX_HIERARCHIES]; /* of v1 cgroups, open for the child */
	int joins;
	struct {
		uint32_t type, op;
		int fd;
	} join[MAX_JOINS]; /* namespaces that the child enters, in this order; a pidfd may stand for several */
	int trees, idmaps;
	int tree[MAX_TREES], idmap[MAX_IDMAPS];
	const char *time_offsets; /* or NULL */
	int start_socket;         /* or -1 */
	int listener;             /* or -1 */
	struct cursor listener_state;
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

/* Lets a child go on that waits for its parent or in OP_SYNC. */
void sandbox_go(int control, pid_t pid);
/*
 * Does what a message asks of the parent: hooks (MESSAGE_SYNC), handing on a terminal (OP_CONSOLE). 0; -1 where that
 * failed, with errno and *problem: the child is still there, waiting, and it is the caller's to kill.
 */
int sandbox_attend(const struct plan *plan, pid_t pid, int control, const struct message *message, int fd,
		   struct problem *problem);

/* parent.c: one operation of the parent's; 0, or -1 with errno and p->what */
int parent_execute(struct parent *p, const struct op *op);
void parent_close(struct parent *p);

/* root-tree.c: a root whose ids are mapped, as one more of p->tree */
int open_root_tree(struct parent *p, struct cursor c);

/* stage.c */
pid_t clone_child(struct parent *p);
int wait_for_parent(struct sandbox *s);
int enter_namespaces(struct sandbox *s);

/* hooks.c: runs one hook, its state on standard input; 0, or -1 with errno and *what (static) */
int run_hook(const struct plan *plan, struct cursor hook, const char *status, pid_t pid, const char **what);

/* connect.c */
int op_wait_start(struct sandbox *s);
int send_listener(struct sandbox *s, int filter);

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
int op_chroot(struct sandbox *s);

/* paths.c: everything by descriptor, resolved inside the root; -1 with errno and s->what */
int in_root(struct sandbox *s, int at, const char *path, int flags);
int open_in_root(struct sandbox *s, const char *path, int flags);
/* the directory that holds `path`, made where it is missing; *name (NAME_MAX + 1) is the last component */
int open_parent(struct sandbox *s, const char *path, char *name);
/* a mount target; an empty file or directory is made where there is none */
int open_target(struct sandbox *s, const char *path, int directory);
int is_directory(int fd);
int make_private(const char *path);

/* Puts a mount onto a place in the root, which is made where it is missing; refused where nothing may lie (EPERM). */
int attach_unfollowed(struct sandbox *s, int mount, const char *target);
int attach(struct sandbox *s, int mount, const char *target);

/* attach.c */
int op_attach(struct sandbox *s, struct cursor c);
int op_device(struct sandbox *s, struct cursor c);
int copy_up(int from, int to);

/* kernel.c: what is written through a procfs of our own, and single system calls */
int op_oom(struct sandbox *s, struct cursor c);
int op_sysctl(struct sandbox *s, struct cursor c);
int op_label(struct sandbox *s, struct cursor c);
int op_keyring(struct cursor c);
int op_scheduler(struct cursor c);
int op_ioprio(struct cursor c);
int op_affinity(const struct op *op);
int op_mempolicy(const struct op *op);

/* process.c */
int op_terminal(struct sandbox *s, struct cursor c);
int op_loopback(void);
int op_cwd(struct sandbox *s, struct cursor c);
int op_rlimit(struct sandbox *s, struct cursor c);
int op_credentials(struct cursor c);
int op_seccomp(struct sandbox *s, struct cursor c);
int op_home(struct sandbox *s, struct cursor c); /* home.c */
/* makes s->stdio 0, 1 and 2 */
int take_stdio(struct sandbox *s);
/* descriptors of the launcher's that the program gets (OP_PRESERVE); the cursor is at the numbers that they shall have */
struct cursor preserved(const struct plan *plan, uint32_t *first, uint32_t *count);
int op_exec_check(struct sandbox *s);
int op_ready(struct sandbox *s);
int op_exec(struct sandbox *s);
int op_init(struct sandbox *s); /* init.c */

#endif

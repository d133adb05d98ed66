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
	MESSAGE_SOURCE = 6, /* open the source of this OP_ATTACH with the ids of the descriptor that comes along, if any */
	MESSAGE_PID = 5,  /* `error` is the pid of the staged child; sandbox_start keeps it to itself */
};

/* One datagram on the control socket; a terminal comes with its master as SCM_RIGHTS. */
struct message {
	uint32_t kind, op, error;
	char text[244];
};

struct parent;

#define MAX_HIDDEN 8

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
	int empty;        /* fd of the empty directory that hides others, -1 before it is needed */
	int parent_directory; /* fd of the directory that find_parent found last, -1: none */
	char parent_path[64]; /* and its path */
	int told;         /* where what happens is told, -1: nowhere; closed before a start is waited for, and by exec */
	int stdio[3];     /* what becomes 0, 1, 2; -1: as they are */
	const int *tasks; /* `tasks` files of v1 cgroups to enter, opened by the parent */
	int hierarchies;
	int is_hook;      /* this is a hook that runs as the program will */
	uint32_t op;      /* index of the operation being executed */
	const char *what; /* detail for an error message */
	int is_apart;     /* the root is attached nowhere until op_pivot, and we still see the host's mounts */
	int base;         /* then: fd of the mount that all others are attached to */
	int hidden[MAX_HIDDEN]; /* and mounts that shall lie below it, where nobody comes: they end with the namespace */
	int hidden_count;
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
	int template; /* mount namespace that the child's shall be a copy of, or -1: of ours */
	int has_network; /* a new network namespace is among those that the child enters */
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
	const int *stdio;         /* three, of the program's; -1: ours */
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
 * Does what a message asks of the parent: hooks (MESSAGE_SYNC), sources, handing on a terminal (OP_CONSOLE). 0; -1 where that
 * failed, with errno and *problem: the child is still there, waiting, and it is the caller's to kill.
 */
int sandbox_attend(const struct plan *plan, pid_t pid, int control, const struct message *message, int fd,
		   struct problem *problem);

/* parent.c: one operation of the parent's; 0, or -1 with errno and p->what */
int parent_execute(struct parent *p, const struct op *op);
void parent_close(struct parent *p);

/* tell.c: an event, as a frame; nothing where fd is -1. errno stays. */
__attribute__((format(printf, 2, 3))) void tell(int fd, const char *format, ...);

/* Start time of a process, field 22 of /proc/PID/stat; 0 where it is gone. */
uint64_t start_time(uint32_t pid);

/* foreign-tree.c: a mount of another container, as one more of p->tree */
int open_foreign_tree(struct parent *p, struct cursor c);
/* What `open_there` opens in the mount namespace of a process (a pidfd), in a process of its own; -1 with errno. */
int open_elsewhere(int process, int (*open_there)(const void *), const void *argument);
/* source.c: the launcher's answer to MESSAGE_SOURCE (0; -1, errno and *problem), and who asks for it (a mount, or -1) */
int send_source(const struct plan *plan, pid_t pid, int control, const struct message *message, int idmap,
		struct problem *problem);
int receive_source(struct sandbox *s, uint32_t idmap);
/* root-tree.c: a root whose ids are mapped, as one more of p->tree */
int open_root_tree(struct parent *p, struct cursor c);

/* net-device.c: a network device, into the namespace of p->pid */
int hand_over_device(struct parent *p, struct cursor c);

/* notify.c: a socket for p->pid, and who listens there */
int open_notify(struct parent *p, struct cursor c);

/* stage.c: `child` runs in the new process and does not return */
struct birth {
	struct parent *p;
	const int *stdio;
	int control, other; /* ends of a socket; `other` stays with the parent */
};
pid_t clone_child(struct parent *p, void (*child)(const struct birth *), const struct birth *birth);
/* template.c: the namespace, or -1 before it was made and where there can be none; made by servers, who start many */
int mount_template(void);
void make_mount_template(void);
int enter_copy_of_template(int namespace);

/* spare-network.c: made by servers, too; taken by the next plan that has a new network namespace */
int wants_spare_network(void);
void make_spare_network(void);
void take_spare_network(struct parent *p);

int wait_for_parent(struct sandbox *s);
int enter_namespaces(struct sandbox *s);

/*
 * hooks.c: runs one hook, its state on standard input; 0, or -1 with errno and *what (static). `as`: with the identity,
 * the filter and the environment that the program of this sandbox will have; NULL: as we are.
 */
int run_hook(const struct plan *plan, struct cursor hook, pid_t pid, struct sandbox *as, const char **what);
/* Opens the files that hooks of this plan write to (OP_HOOK_STREAMS), for us and the child; 0, or -1 with *what. */
int open_hook_streams(struct cursor c, const char **what);
/* The descriptor of hooks' 1 or 2, -1: ours. */
int hook_stream(int number);
/* sandbox.c: takes on what follows in the plan up to exec, in a process of its own */
int become_program(struct sandbox *s);

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
int op_mask(struct sandbox *s, struct cursor c);
int op_readonly(struct sandbox *s, struct cursor c);
int op_root_readonly(struct sandbox *s);

/* nodes.c */
int op_mkdir(struct sandbox *s, struct cursor c);
int op_mknod(struct sandbox *s, struct cursor c);
int op_symlink(struct sandbox *s, struct cursor c);

/* leave-root.c */
int op_pivot(struct sandbox *s);
int op_chroot(struct sandbox *s);

/* paths.c: everything by descriptor, resolved inside the root; -1 with errno and s->what */
int in_root(struct sandbox *s, int at, const char *path, int flags);
int open_in_root(struct sandbox *s, const char *path, int flags);
/* The part of `path` below the directory `above`, with its slash; NULL where it is not below, or `above` is NULL or "/" */
const char *path_below(const char *path, const char *above);
/*
 * The directory that holds `path`, made where it is missing; *name (NAME_MAX + 1) is the last component. It stays open
 * for the next path in it, until something is mounted: nobody closes it.
 */
int find_parent(struct sandbox *s, const char *path, char *name);
void forget_parent(struct sandbox *s);
/* a mount target; an empty file or directory is made where there is none */
int open_target(struct sandbox *s, const char *path, int directory);
int is_directory(int fd);
/* Closes a descriptor that exec would close as well, at once with all others: only where there are many. */
void close_later(int fd);
int make_private(const char *path);
/* MS_SHARED, _SLAVE or _PRIVATE of a mount and all below it; 0, or -1 */
int change_propagation(int tree, uint64_t propagation);
/* The parent's n-th tree, from 1, no peer of the host's unless `propagation` says what it shall be; or -1 */
int own_tree(struct sandbox *s, uint32_t number, uint32_t propagation);

/* A copy of the mount at `path`, with AT_RECURSIVE of those below it, attached nowhere; -1 with errno and s->what */
int copy_mounts(struct sandbox *s, int at, const char *path, unsigned flags);
/* Puts a mount onto a place in the root, which is made where it is missing; refused where nothing may lie (EPERM). */
int attach_unfollowed(struct sandbox *s, int mount, const char *target);
int attach(struct sandbox *s, int mount, const char *target);

/* attach.c */
int op_attach(struct sandbox *s, struct cursor c);
int op_device(struct sandbox *s, struct cursor c);
int op_detach(struct sandbox *s, struct cursor c);
int copy_up(int from, int to);

/* kernel.c: what is written through a procfs of our own, and single system calls */
int op_oom(struct sandbox *s, struct cursor c);
int op_sysctl(struct sandbox *s, struct cursor c);
int op_label(struct sandbox *s, struct cursor c);
int op_keyring(struct cursor c);
int op_scheduler(struct cursor c);
int op_ioprio(struct cursor c);
int op_affinity(struct sandbox *s, const struct op *op);
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
/* closes all but standard streams and what is used after pivot; 0, or -1 */
int close_others(struct sandbox *s);
/* descriptors of the launcher's that the program gets (OP_PRESERVE); the cursor is at the numbers that they shall have */
struct cursor preserved(const struct plan *plan, uint32_t *first, uint32_t *count);
/* Before the first clone: looking at all signals takes longer than most operations. */
void note_ignored_signals(void);
int op_exec_check(struct sandbox *s);
int op_ready(struct sandbox *s);
int op_exec(struct sandbox *s);
int op_init(struct sandbox *s); /* init.c */

#endif

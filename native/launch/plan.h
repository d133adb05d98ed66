/*
 * The binary plan: what TypeScript decided, as a header and a flat list of bounded operations.
 *
 * header   u32 magic "TSBP", u16 version, u16 reserved, u32 total bytes, u32 number of operations
 * op       u16 code, u16 flags, u32 payload length, payload, padding to 8
 *
 * Strings in payloads are NUL-terminated; numbers are little-endian, in front of the strings. Every bound is
 * checked once, by plan_read, before anything is done; after that a payload can be walked without checks failing.
 */
#ifndef TSB_PLAN_H
#define TSB_PLAN_H
#include <stddef.h>
#include <stdint.h>

#define PLAN_MAGIC 0x50425354u
#define PLAN_VERSION 1
#define PLAN_MAX_BYTES (8u << 20)
#define PLAN_MAX_OPS 4096
#define MAX_PRESERVED 1024
#define HOOK_WORDS 1024 /* arguments, and variables, of a hook */

enum op_code {
	OP_NAMESPACES = 1, /* u32 clone flags, u32 propagation of "/" (MS_*; 0: private, recursively), u32 START_* */
	/* u32 kind, u32 flags, u32 lowers; strings: point, (bind) source | upper, work, lowers… (see ../erofs-mount.h) */
	OP_ROOT = 2,
	OP_MOUNT = 3,      /* u32 attributes, u32 options; strings: type, target, (key, value)… */
	OP_BIND = 4,       /* u32 flags; strings: source, target */
	OP_ASSEMBLED = 5,  /* u32 kind, u32 flags, u32 lowers; strings: point, source|upper, work, lowers…; inside, target */
	OP_FILE = 6,       /* u32 mode, uid, gid, flags, size; string target; then `size` bytes */
	OP_MKDIR = 7,      /* u32 mode; string path */
	OP_MKNOD = 8,      /* u32 mode, major, minor; string path */
	OP_SYMLINK = 9,    /* strings: target, path */
	OP_MASK = 10,      /* string path */
	OP_READONLY = 11,  /* string path */
	OP_ROOT_READONLY = 12,
	OP_TERMINAL = 13, /* u32 uid, gid, rows, columns (0: as they are), 1: no carriage return is added to a newline */
	OP_PIVOT = 14,
	OP_HOSTNAME = 15, /* string */
	OP_LOOPBACK = 16,
	OP_CWD = 17,         /* string */
	OP_RLIMIT = 18,      /* u32 resource, u32 1: must, 0: as far as it may; u64 soft, u64 hard */
	OP_UMASK = 19,       /* u32 */
	OP_OOM = 20,         /* i32 */
	OP_CREDENTIALS = 21, /* u32 uid, gid, count, 1: keep groups; u64 bounding, effective, permitted, inheritable, ambient; u32 gids… */
	OP_NO_NEW_PRIVS = 22,
	OP_SECCOMP = 23, /* u32 flags of seccomp(2), u32 zero; sock_filter[] */
	OP_EXEC = 24,    /* u32 args, environment, candidates; strings in that order */
	/* u32 ATTACH_*, attributes set, cleared, set and cleared recursively, propagation, tree or 0, options;
	   strings: type, source, target, (key, value)… */
	OP_ATTACH = 25,
	OP_SYNC = 26,        /* u32 HOOK_*: waits until the parent has run its hooks of that phase */
	OP_HOOK = 27,        /* u32 HOOK_*, timeout ms (0: none), args, environment; strings: path, args…, environment… */
	OP_SYSCTL = 28,      /* strings: path below /proc/sys, value */
	OP_DOMAINNAME = 29,  /* string */
	OP_EXEC_CHECK = 30,  /* fails as OP_EXEC would where no candidate can be executed */
	OP_KEYRING = 31,     /* string: name of a new session keyring */
	OP_PERSONALITY = 32, /* u32 */
	OP_SCHEDULER = 33,   /* u32 policy, nice, priority, zero; u64 flags, runtime, deadline, period */
	OP_IOPRIO = 34,      /* u32 */
	OP_AFFINITY = 35,    /* a cpu mask */
	OP_WAIT_START = 36,  /* waits for a connection to the socket of OP_START_SOCKET; errors go there afterwards */
	OP_LABEL = 37,       /* strings: file below /proc/thread-self/attr, value */
	OP_DEVICE = 38,      /* u32 mode with type, major, minor, uid, gid, zero; string path */
	OP_CHROOT = 39,      /* instead of OP_PIVOT, where the root cannot be pivoted (initramfs) */
	OP_STATE = 40,       /* strings a, b, c: hooks read a STATUS b PID c on their standard input */
	OP_PRESERVE = 41,    /* u32 first, count; u32 numbers… of the program that descriptors from `first` on become */
	OP_MEMPOLICY = 42,   /* u32 mode with flags, u32 zero; a node mask */
	OP_ROOT_PROPAGATION = 43, /* u32 MS_*: of "/", after pivot */
	OP_READY = 45, /* everything but exec: streams, descriptors, signals; before a filter that forbids it */
	OP_CHROOT_ALONE = 46, /* instead of OP_PIVOT, in a mount namespace that is not the container's own */
	OP_DETACH = 47, /* string: a mount's root in the container, which goes with all below it */
	OP_LEAVE = 48,  /* instead of OP_EXEC: there was nothing more to do */
	OP_HOME = 44, /* u32 uid: the last entry of the environment becomes HOME of /etc/passwd */
	OP_INIT = 100, /* the container's first process stays in between, see init.c */
	OP_CGROUP_SELF = 80,      /* enters what OP_CGROUP_TASKS opened */
	OP_CGROUP_NAMESPACE = 81, /* a new one, rooted in the cgroup that was entered */

	/*
	 * From here on the parent does it: what is below 300 before the clone, the rest while the child waits.
	 * A block of ten for each subject: 200 and 300 namespaces, 210 and 310 cgroups, 220 and 320 networks.
	 */
	OP_PARENT = 200,
	OP_JOIN = 200,         /* u32 CLONE_NEW* of the namespace; string path: the child enters it instead of a new one */
	OP_ENTER = 201,        /* u32 pid, u32 CLONE_NEW*: the child enters these of a process; u64 its start time (0: any) */
	OP_TREE = 202,         /* u32 FLAG_RECURSIVE, idmap or 0; string source: a mount for OP_ATTACH, opened outside */
	OP_IDMAP = 203,        /* strings uid_map, gid_map, or "" and a user namespace's path: for OP_TREE */
	OP_TIME_OFFSETS = 204, /* string: text of timens_offsets */
	OP_START_SOCKET = 205, /* string: path of the socket where OP_WAIT_START waits */
	OP_LISTENER = 206,     /* strings: socket that gets the filter's descriptor; a, b, c, d: with it goes a STATUS b PID c PID d */
	OP_ROOT_TREE = 208,    /* u32 idmap, uid, gid of its root outside; then as OP_ROOT: a root whose ids are mapped */
	OP_FOREIGN_TREE = 209, /* u32 pid, zero; u64 its start time; string path: a tmpfs or mqueue in that process's root, for OP_ATTACH */
	OP_CGROUP_MAKE = 210,    /* u32 flags; strings: mount point, path below it */
	OP_CGROUP_ENABLE = 211,  /* u32 required, optional; strings: mount point, path of the parent, controllers… */
	OP_CGROUP_WRITE = 212,   /* u32 flags, u32 choices; strings: (file, value)… */
	OP_CGROUP_TASKS = 213,   /* string: a v1 `tasks` file for the child to enter */
	OP_CGROUP_BORN = 214,    /* string: directory of a v2 cgroup for the child to be born in */
	OP_CGROUP_DEVICES = 215, /* u32 bytes; string: directory of a v2 cgroup; then struct bpf_insn[] */
	OP_CGROUP_REALTIME = 216, /* u32 runtime, period (0: as it is); strings: directory of a v1 cgroup, its parent that gets as much more, or "" */
	OP_NODE = 207,         /* u32 mode with type, major, minor, uid, gid; string path: a device for OP_ATTACH, else the host's */
	OP_SERVED_TREE = 230,  /* strings: program, options: what it serves, for OP_ROOT and OP_ASSEMBLED (served.h) */
	OP_HOOK_STREAMS = 240,   /* strings: files that get what hooks write to 1 and to 2, "": where we do */
	OP_STREAMS_OWNER = 241,  /* u32 uid, gid: whose the program's standard streams become; u32 files, too, not pipes alone */
	OP_AFTER = 300,
	OP_ID_MAPS = 300,      /* strings uid_map, gid_map of a new user namespace */
	OP_PARENT_OOM = 301,   /* i32 */
	OP_PARENT_HOOK = 308,  /* as OP_HOOK, when the child comes to its OP_SYNC */
	OP_CONSOLE = 309,      /* string: socket that gets the terminal's master */
	OP_CGROUP_ENTER = 310, /* string: a cgroup.procs file */
	OP_NETWORK = 320,      /* the first of those that need the child's network namespace */
	OP_NET_DEVICE = 321,   /* strings: name of a device of ours, its name in the child's network namespace, where it goes */
	OP_NOTIFY = 331, /* strings: path of a socket for the child's sd_notify, the socket (or @name) that its words are for */
	OP_PIDFD = 330,        /* string: socket that gets a pidfd of the child */
};

enum op_phase { PHASE_CHILD, PHASE_BEFORE, PHASE_AFTER, PHASE_NETWORK, PHASE_MESSAGE };

/*
 * START_SURVIVE: the child outlives its parent. START_HERE: it has a root already (OP_ENTER), nothing is mounted.
 * START_SHARED: the mount namespace is somebody else's: what is there stays as it is, and nothing is mounted beside the root.
 * START_TELLS: what happens on the way is told, see tell.c.
 */
enum { START_SURVIVE = 1, START_HERE = 2, START_SHARED = 4, START_TELLS = 8 };
enum hook_phase { HOOK_RUNTIME = 1, HOOK_CONTAINER = 2, HOOK_START = 3, HOOK_POSTSTART = 4, HOOK_POSTSTOP = 5 };
/* ATTACH_INSIDE: the launcher opens the source in the child's mount namespace, and the tree's number is an idmap's.
   ATTACH_LOCKED: what a user namespace may not change of a mount of the host's stays as it is, or it is EPERM.
   ATTACH_SOURCE_IN_ROOT: the source is below the point where the root is attached, and found in the root. */
enum { ATTACH_BIND = 1, ATTACH_RECURSIVE = 2, ATTACH_COPY_UP = 4, ATTACH_REMOUNT = 8, ATTACH_SOURCE_NOFOLLOW = 16, ATTACH_TARGET_NOFOLLOW = 32, ATTACH_KEEP_MODE = 64, ATTACH_INSIDE = 128, ATTACH_IDMAP_RECURSIVE = 256, ATTACH_LOCKED = 512, ATTACH_SOURCE_IN_ROOT = 1024 };

/* MOUNT_KIND_TREE: made by the parent, its number instead of `lowers` (OP_ROOT, OP_ASSEMBLED). */
enum { MOUNT_KIND_BIND = 0, MOUNT_KIND_OVERLAY = 1, MOUNT_KIND_TREE = 2 };
enum { CGROUP_CPUSET = 1, CGROUP_SHARED = 2 }; /* processors from above; others may be in it */
enum { CGROUP_OPTIONAL = 1 };                  /* nothing is lost where the file refuses */
enum { FLAG_READONLY = 1, FLAG_RECURSIVE = 2, FLAG_VOLATILE = 4, FLAG_USERXATTR = 8, FLAG_IDMAP_RECURSIVE = 16, FLAG_NOFOLLOW = 32 };

struct op {
	uint16_t code;
	uint32_t length;
	const uint8_t *payload;
};

struct plan {
	uint32_t count;
	struct op ops[PLAN_MAX_OPS];
	/* Filled before clone, so that nothing is allocated after it. */
	uint32_t clone_flags;
	char **argv, **envp, **candidates;
	uint32_t environment; /* entries of envp */
	uint32_t propagation, start_flags;
	/* Of the caller's terminal, by whoever starts the plan; 0: as OP_TERMINAL says. */
	uint32_t rows, columns;
	int terminal;
	int has_after; /* the child must wait for its parent, or wants to know its own pid */
	int is_ready;  /* has OP_READY, without which descriptors would leak */
	int is_staged; /* the namespaces are entered by a process in between, see stage.c */
	int has_attached; /* images that must be attached for a moment */
	int may_be_apart; /* its root may be put together out of sight, see template.c */
	int told;   /* whom START_TELLS is told to, -1: nobody; set by whoever reads the plan */
	int may_borrow; /* the child may live in the launcher's memory up to exec, see stage.c */
};

/* A position in a payload. Reading past the end sets `bad` and gives zeros. */
struct cursor {
	const uint8_t *at, *end;
	int bad;
};

enum op_phase phase_of(const struct op *op);

struct cursor cursor_of(const struct op *op);
uint32_t take_u32(struct cursor *c);
uint64_t take_u64(struct cursor *c);
const char *take_string(struct cursor *c);
const uint8_t *take_bytes(struct cursor *c, uint32_t size);

/* 0, or -1 with errno EINVAL (malformed) or ENOMEM; *bad_op tells which operation. `bytes` must outlive the plan. */
int plan_read(struct plan *plan, const uint8_t *bytes, size_t size, uint32_t *bad_op);
/* plan-start.c: of a plan that was read; the second asks for the first's answer in it */
int plan_may_borrow(const struct plan *plan);
int plan_may_be_apart(const struct plan *plan);
void plan_free(struct plan *plan);

#endif

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

enum op_code {
	OP_NAMESPACES = 1, /* u32 clone flags */
	OP_ROOT = 2,       /* u32 kind, u32 flags, u32 lowers; strings: point, (bind) source | upper, work, lowers… */
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
	OP_TERMINAL = 13, /* u32 uid, u32 gid */
	OP_PIVOT = 14,
	OP_HOSTNAME = 15, /* string */
	OP_LOOPBACK = 16,
	OP_CWD = 17,         /* string */
	OP_RLIMIT = 18,      /* u32 resource, u32 zero, u64 soft, u64 hard */
	OP_UMASK = 19,       /* u32 */
	OP_OOM = 20,         /* i32 */
	OP_CREDENTIALS = 21, /* u32 uid, gid, count, zero; u64 bounding, effective, permitted, inheritable; u32 gids… */
	OP_NO_NEW_PRIVS = 22,
	OP_SECCOMP = 23, /* sock_filter[] */
	OP_EXEC = 24,    /* u32 args, environment, candidates; strings in that order */
	OP_CGROUP_SELF = 80,      /* enters what OP_CGROUP_TASKS opened */
	OP_CGROUP_NAMESPACE = 81, /* a new one, rooted in the cgroup that was entered */

	/*
	 * From here on the parent does it: what is below 300 before the clone, the rest while the child waits.
	 * A block of ten for each subject: 200 and 300 namespaces, 210 and 310 cgroups, 220 and 320 networks.
	 */
	OP_PARENT = 200,
	OP_JOIN = 200,         /* u32 CLONE_NEW* of the namespace; string path: the child enters it instead of a new one */
	OP_CGROUP_MAKE = 210,    /* u32 flags; strings: mount point, path below it */
	OP_CGROUP_ENABLE = 211,  /* u32 required, optional; strings: mount point, path of the parent, controllers… */
	OP_CGROUP_WRITE = 212,   /* u32 flags, u32 choices; strings: (file, value)… */
	OP_CGROUP_TASKS = 213,   /* string: a v1 `tasks` file for the child to enter */
	OP_CGROUP_BORN = 214,    /* string: directory of a v2 cgroup for the child to be born in */
	OP_CGROUP_DEVICES = 215, /* u32 bytes; string: directory of a v2 cgroup; then struct bpf_insn[] */
	OP_AFTER = 300,
	OP_CGROUP_ENTER = 310, /* string: a cgroup.procs file */
};

enum op_phase { PHASE_CHILD, PHASE_BEFORE, PHASE_AFTER };

enum { MOUNT_KIND_BIND = 0, MOUNT_KIND_OVERLAY = 1 };
enum { CGROUP_CPUSET = 1, CGROUP_SHARED = 2 }; /* processors from above; others may be in it */
enum { CGROUP_OPTIONAL = 1 };                  /* nothing is lost where the file refuses */
enum { FLAG_READONLY = 1, FLAG_RECURSIVE = 2, FLAG_VOLATILE = 4, FLAG_USERXATTR = 8 };

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
	int terminal;
	int has_after; /* the child must wait for its parent */
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
void plan_free(struct plan *plan);

#endif

/* Reading a plan: all bounds, all strings, before anything is done. See plan.h. */
#include "plan.h"
#include "../erofs-mount.h"
#include <errno.h>
#include <linux/filter.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

enum op_phase phase_of(const struct op *op)
{
	if (op->code < OP_PARENT)
		return PHASE_CHILD;
	if (op->code < OP_AFTER)
		return PHASE_BEFORE;
	if (op->code == OP_PARENT_HOOK || op->code == OP_CONSOLE)
		return PHASE_MESSAGE;
	return op->code < OP_NETWORK ? PHASE_AFTER : PHASE_NETWORK;
}

struct cursor cursor_of(const struct op *op)
{
	return (struct cursor){ op->payload, op->payload + op->length, 0 };
}

const uint8_t *take_bytes(struct cursor *c, uint32_t size)
{
	if (c->bad || (size_t)(c->end - c->at) < size) {
		c->bad = 1;
		return NULL;
	}
	const uint8_t *bytes = c->at;
	c->at += size;
	return bytes;
}

uint32_t take_u32(struct cursor *c)
{
	uint32_t value = 0;
	const uint8_t *bytes = take_bytes(c, sizeof value);
	if (bytes)
		memcpy(&value, bytes, sizeof value);
	return value;
}

uint64_t take_u64(struct cursor *c)
{
	uint64_t value = 0;
	const uint8_t *bytes = take_bytes(c, sizeof value);
	if (bytes)
		memcpy(&value, bytes, sizeof value);
	return value;
}

const char *take_string(struct cursor *c)
{
	const uint8_t *nul = c->bad ? NULL : memchr(c->at, 0, (size_t)(c->end - c->at));
	if (!nul) {
		c->bad = 1;
		return "";
	}
	const char *string = (const char *)c->at;
	c->at = nul + 1;
	return string;
}

static void take_strings(struct cursor *c, uint32_t count)
{
	for (uint32_t i = 0; i < count && !c->bad; i++)
		take_string(c);
}

static const char *next_string(void *cursor)
{
	return take_string(cursor);
}

static void take_lower_strings(struct plan *plan, struct cursor *c)
{
	struct lower lower = lower_read(next_string, c);
	plan->has_attached |= !lower.directory && lower_is_attached(&lower);
	if (!lower.directory && *lower.how != LOWER_FILE && *lower.how != LOWER_LOOP)
		c->bad = 1;
}

static void take_mounts(struct plan *plan, struct cursor *c, int may_be_tree)
{
	uint32_t kind = take_u32(c);
	take_u32(c);
	uint32_t lowers = take_u32(c);
	take_string(c);
	if (kind == MOUNT_KIND_TREE && may_be_tree)
		return;
	take_string(c);
	if (kind == MOUNT_KIND_OVERLAY) {
		take_string(c);
		for (uint32_t i = 0; i < lowers && !c->bad; i++)
			take_lower_strings(plan, c);
	} else if (kind != MOUNT_KIND_BIND)
		c->bad = 1;
}

/* An array of `count` pointers into the payload, ended by NULL. */
static char **take_vector(struct cursor *c, uint32_t count)
{
	if (count > (uint32_t)(c->end - c->at))
		c->bad = 1;
	char **vector = c->bad ? NULL : calloc((size_t)count + 1, sizeof *vector);
	for (uint32_t i = 0; vector && i < count; i++)
		vector[i] = (char *)take_string(c);
	return vector;
}

static int read_exec(struct plan *plan, struct cursor *c)
{
	uint32_t args = take_u32(c), environment = take_u32(c), candidates = take_u32(c);
	if (plan->argv || args == 0)
		return -1;
	plan->environment = environment;
	plan->argv = take_vector(c, args);
	plan->envp = take_vector(c, environment);
	plan->candidates = take_vector(c, candidates);
	return plan->argv && plan->envp && plan->candidates ? 0 : -1;
}

static void take_hook(struct cursor *c, uint32_t length)
{
	take_bytes(c, 8);
	uint32_t args = take_u32(c), environment = take_u32(c);
	if (args > HOOK_WORDS || environment > HOOK_WORDS || args == 0 || args > length || environment > length)
		c->bad = 1;
	take_strings(c, 1 + args + environment);
}

/* Walks a payload as its executor will. */
static int check_op(struct plan *plan, const struct op *op)
{
	struct cursor c = cursor_of(op);
	uint32_t n, m;
	switch (op->code) {
	case OP_NAMESPACES:
		plan->clone_flags = take_u32(&c);
		plan->propagation = take_u32(&c);
		plan->start_flags = take_u32(&c);
		/* why: offsets can be written only before the first process is born into a time namespace. */
		plan->is_staged |= (plan->clone_flags & CLONE_NEWTIME) != 0;
		break;
	case OP_ROOT:
		take_mounts(plan, &c, 1);
		break;
	case OP_MOUNT:
		take_u32(&c);
		n = take_u32(&c);
		take_string(&c);
		take_string(&c);
		if (n > op->length)
			return -1;
		take_strings(&c, 2 * n);
		break;
	case OP_BIND:
		take_u32(&c);
		take_strings(&c, 2);
		break;
	case OP_ASSEMBLED:
		take_mounts(plan, &c, 1);
		take_strings(&c, 2);
		break;
	case OP_FILE:
		take_bytes(&c, 16);
		n = take_u32(&c);
		take_string(&c);
		take_bytes(&c, n);
		break;
	case OP_MKDIR:
		take_u32(&c);
		take_string(&c);
		break;
	case OP_MKNOD:
		take_bytes(&c, 12);
		take_string(&c);
		break;
	case OP_SYMLINK:
		take_strings(&c, 2);
		break;
	case OP_MASK:
	case OP_DETACH:
	case OP_READONLY:
	case OP_HOSTNAME:
	case OP_DOMAINNAME:
	case OP_CWD:
	case OP_KEYRING:
	case OP_TIME_OFFSETS:
	case OP_START_SOCKET:
	case OP_CONSOLE:
	case OP_PIDFD:
	case OP_CGROUP_ENTER:
	case OP_CGROUP_TASKS:
	case OP_CGROUP_BORN:
		take_string(&c);
		break;
	case OP_CGROUP_MAKE:
		take_u32(&c);
		take_strings(&c, 2);
		break;
	case OP_CGROUP_WRITE:
		take_u32(&c);
		n = take_u32(&c);
		if (n == 0 || n > 8)
			return -1;
		take_strings(&c, 2 * n);
		break;
	case OP_CGROUP_ENABLE:
		n = take_u32(&c);
		m = take_u32(&c);
		if (n > 64 || m > 64)
			return -1;
		take_strings(&c, 2 + n + m);
		break;
	case OP_CGROUP_REALTIME:
		take_bytes(&c, 8);
		take_strings(&c, 2);
		break;
	case OP_CGROUP_DEVICES:
		n = take_u32(&c);
		take_string(&c);
		take_bytes(&c, n);
		break;
	case OP_JOIN:
		plan->is_staged |= (take_u32(&c) & (CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWTIME | CLONE_NEWNS)) != 0;
		take_string(&c);
		break;
	case OP_STREAMS_OWNER:
		take_bytes(&c, 12);
		break;
	case OP_FOREIGN_TREE:
		take_bytes(&c, 16);
		take_string(&c);
		break;
	case OP_ENTER:
		take_bytes(&c, 16);
		plan->is_staged = 1;
		break;
	case OP_ROOT_TREE:
		take_bytes(&c, 12);
		take_mounts(plan, &c, 0);
		break;
	case OP_TREE:
		take_bytes(&c, 8);
		take_string(&c);
		break;
	case OP_HOOK_STREAMS:
	case OP_NET_DEVICE:
	case OP_NOTIFY:
	case OP_SERVED_TREE:
	case OP_IDMAP:
	case OP_ID_MAPS:
	case OP_SYSCTL:
	case OP_LABEL:
		take_strings(&c, 2);
		break;
	case OP_LISTENER:
		plan->has_after = 1;
		take_strings(&c, 5);
		break;
	case OP_STATE:
		plan->has_after = 1;
		take_strings(&c, 3);
		break;
	case OP_HOOK:
	case OP_PARENT_HOOK:
		take_hook(&c, op->length);
		break;
	case OP_ATTACH:
		take_bytes(&c, 28);
		n = take_u32(&c);
		if (n > op->length)
			return -1;
		take_strings(&c, 3 + 2 * n);
		break;
	case OP_NODE:
		take_bytes(&c, 20);
		take_string(&c);
		break;
	case OP_DEVICE:
		take_bytes(&c, 24);
		take_string(&c);
		break;
	case OP_SCHEDULER:
		take_bytes(&c, 48);
		break;
	case OP_AFFINITY:
		if (op->length == 0 || op->length > 1024)
			return -1;
		break;
	case OP_MEMPOLICY:
		if (op->length < 8 || op->length > 1024 || op->length % 8)
			return -1;
		break;
	case OP_PRESERVE:
		take_u32(&c);
		n = take_u32(&c);
		if (n > MAX_PRESERVED)
			return -1;
		while (n-- > 0) {
			uint32_t target = take_u32(&c);
			if (target < 3 || target >= 65536)
				return -1;
		}
		break;
	case OP_TERMINAL:
		take_bytes(&c, 20);
		plan->terminal = 1;
		break;
	case OP_RLIMIT:
		take_bytes(&c, 24);
		break;
	case OP_UMASK:
	case OP_OOM:
	case OP_PARENT_OOM:
	case OP_SYNC:
	case OP_PERSONALITY:
	case OP_IOPRIO:
	case OP_ROOT_PROPAGATION:
	case OP_HOME:
		take_u32(&c);
		break;
	case OP_CREDENTIALS:
		take_bytes(&c, 8);
		n = take_u32(&c);
		if (n > 65536)
			return -1;
		take_bytes(&c, 4 + 40 + 4 * n);
		break;
	case OP_SECCOMP:
		if (op->length < 16 || op->length % sizeof(struct sock_filter) || op->length / sizeof(struct sock_filter) > BPF_MAXINSNS)
			return -1;
		break;
	case OP_EXEC:
		if (read_exec(plan, &c))
			return -1;
		break;
	case OP_READY:
		plan->is_ready = 1;
		break;
	case OP_ROOT_READONLY:
	case OP_INIT:
	case OP_PIVOT:
	case OP_CHROOT:
	case OP_CHROOT_ALONE:
	case OP_LEAVE:
	case OP_EXEC_CHECK:
	case OP_WAIT_START:
	case OP_LOOPBACK:
	case OP_NO_NEW_PRIVS:
	case OP_CGROUP_SELF:
	case OP_CGROUP_NAMESPACE:
		break;
	default:
		return -1;
	}
	return c.bad ? -1 : 0;
}

int plan_read(struct plan *plan, const uint8_t *bytes, size_t size, uint32_t *bad_op)
{
	memset(plan, 0, sizeof *plan);
	plan->told = -1;
	*bad_op = 0;
	errno = EINVAL;
	if (size < 16 || size > PLAN_MAX_BYTES)
		return -1;
	struct op header = { 0, 16, bytes };
	struct cursor c = cursor_of(&header);
	uint32_t magic = take_u32(&c), version = take_u32(&c) & 0xffff, total = take_u32(&c), count = take_u32(&c);
	if (magic != PLAN_MAGIC || version != PLAN_VERSION || total != size || count == 0 || count > PLAN_MAX_OPS)
		return -1;
	struct cursor body = { bytes + 16, bytes + size, 0 };
	for (uint32_t i = 0; i < count; i++) {
		*bad_op = i;
		uint32_t code = take_u32(&body) & 0xffff, length = take_u32(&body);
		const uint8_t *payload = take_bytes(&body, length);
		take_bytes(&body, (8 - length % 8) % 8);
		if (body.bad)
			return -1;
		plan->ops[i] = (struct op){ (uint16_t)code, length, payload };
		plan->count = i + 1;
		plan->has_after |= phase_of(&plan->ops[i]) == PHASE_AFTER || phase_of(&plan->ops[i]) == PHASE_NETWORK;
		if (check_op(plan, &plan->ops[i])) {
			errno = EINVAL;
			return -1;
		}
	}
	const uint16_t last = plan->ops[count - 1].code;
	int is_whole = last == OP_LEAVE ? (plan->start_flags & START_HERE) != 0 : last == OP_EXEC && plan->is_ready;
	if (plan->ops[0].code != OP_NAMESPACES || !is_whole || body.at != body.end)
		return -1;
	plan->may_borrow = plan_may_borrow(plan);
	plan->may_be_apart = plan_may_be_apart(plan);
	return 0;
}

void plan_free(struct plan *plan)
{
	free(plan->argv);
	free(plan->envp);
	free(plan->candidates);
	plan->argv = plan->envp = plan->candidates = NULL;
}

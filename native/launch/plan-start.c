/* How the process of a plan may be started: by borrowing the launcher's memory, and with a root put together out of sight. */
#include "plan.h"
#include <sched.h>
#include <sys/mount.h>

static uint32_t attach_flags(const struct op *op)
{
	struct cursor c = cursor_of(op);
	return take_u32(&c);
}

static uint32_t attach_propagation(const struct op *op)
{
	struct cursor c = cursor_of(op);
	take_bytes(&c, 20);
	return take_u32(&c);
}

/*
 * Whether the launcher may stand still until the program is executed: nothing waits for it, for a hook or for whoever
 * starts a created container, an init is never replaced by a program, what is said on the way fits into a socket, and
 * nothing is copied that may be large.
 */
int plan_may_borrow(const struct plan *plan)
{
	if (plan->has_after || plan->is_staged || plan->clone_flags & (CLONE_NEWUSER | CLONE_NEWTIME))
		return 0;
	int limits = 0;
	for (uint32_t i = 0; i < plan->count; i++)
		switch (plan->ops[i].code) {
		case OP_SYNC:
		case OP_HOOK:
		case OP_WAIT_START:
		case OP_INIT:
		case OP_CHROOT:
			return 0;
		case OP_ATTACH:
			if (attach_flags(&plan->ops[i]) & (ATTACH_COPY_UP | ATTACH_INSIDE))
				return 0;
			break;
		case OP_RLIMIT:
			limits++;
		}
	return limits <= 64;
}

/* Whether nothing but the root itself has to be the peer of a mount of the host's, or seen by a hook on its way. */
int plan_may_be_apart(const struct plan *plan)
{
	int roots = 0;
	if (!plan->may_borrow || !(plan->clone_flags & CLONE_NEWNS) || plan->propagation || plan->has_attached)
		return 0;
	for (uint32_t i = 0; i < plan->count; i++)
		switch (plan->ops[i].code) {
		case OP_ROOT_PROPAGATION:
			return 0;
		case OP_ROOT:
			roots++;
			break;
		case OP_ATTACH:
			/* The kernel changes attributes only of what is in our namespace, or still by itself. */
			if (attach_flags(&plan->ops[i]) & ATTACH_REMOUNT ||
			    attach_propagation(&plan->ops[i]) & (MS_SHARED | MS_SLAVE))
				return 0;
		}
	return roots == 1;
}

/*
 * Sources of binds that the child may see but not open as they are wanted: the launcher, which has the host's rights,
 * goes into the child's mount namespace for them (foreign-tree.c) and sends back what it opened.
 *
 * So ids are mapped of what an earlier mount brought there, in a user namespace, too, whose own root may map none. And
 * what the host's mounts forbid (ro, nosuid, nodev, noexec, access times) is locked: the kernel does that to mounts that
 * it copies into the mount namespace of a user namespace, where a clone from the host's would be anybody's to change.
 */
#include "frames.h"
#include "../openat2.h"
#include "sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

struct source {
	const char *path, *root; /* of the container: where it is attached yet, or NULL */
	uint32_t flags; /* ATTACH_* */
	int idmap;      /* user namespace, or -1 */
	const struct stat *same; /* what it must be, or NULL */
};

static void close_keeping_errno(int fd)
{
	int error = errno;
	close(fd);
	errno = error;
}

/* As bind_source of attach.c: no symlink of an image leads out of its root. */
static int find_source(const struct source *source)
{
	const char *inside = source->flags & ATTACH_SOURCE_IN_ROOT ? path_below(source->path, source->root) : NULL;
	const int flags = O_PATH | O_CLOEXEC | (source->flags & ATTACH_SOURCE_NOFOLLOW ? O_NOFOLLOW : 0);
	if (!inside)
		return open(source->path, flags);
	struct open_how how = { .flags = (uint64_t)flags, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	int root = open(source->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int at = root < 0 ? -1 : openat2_beneath(root, inside, &how);
	if (root >= 0)
		close_keeping_errno(root);
	return at;
}

/* why: the container's root, on its way to become that, may lie over what the host's path means. */
static int is_same(int fd, const struct stat *wanted)
{
	struct stat st;
	return !wanted || (fstat(fd, &st) == 0 && st.st_dev == wanted->st_dev && st.st_ino == wanted->st_ino);
}

/* In the child's mount namespace, in a process that ends then; descriptors are the launcher's, too. */
static int open_source(const void *wanted)
{
	const struct source *source = wanted;
	const unsigned recursive = source->flags & ATTACH_RECURSIVE ? AT_RECURSIVE : 0;
	int at = find_source(source);
	if (at >= 0 && !is_same(at, source->same)) {
		close(at);
		errno = ESTALE;
		return -1;
	}
	int tree = at < 0 ? -1 : (int)syscall(SYS_open_tree, at, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | recursive);
	if (at >= 0)
		close_keeping_errno(at);
	if (tree < 0 || source->idmap < 0)
		return tree;
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)source->idmap };
	const unsigned deep = source->flags & ATTACH_IDMAP_RECURSIVE ? AT_RECURSIVE : 0;
	if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | deep, &attr, sizeof attr) == 0)
		return tree;
	close_keeping_errno(tree);
	return -1;
}

/* Where the root is attached before pivot; NULL where there is none. */
static const char *root_point(const struct plan *plan)
{
	for (uint32_t i = 0; i < plan->count; i++)
		if (plan->ops[i].code == OP_ROOT) {
			struct cursor c = cursor_of(&plan->ops[i]);
			take_bytes(&c, 12);
			return take_string(&c);
		}
	return NULL;
}

static int is_attach(const struct plan *plan, uint32_t op)
{
	return op < plan->count && plan->ops[op].code == OP_ATTACH;
}

/*
 * The kernel shows nobody there what lies below a mount that came along (EINVAL), which a bind of one mount alone would;
 * the host's root may, as long as it unlocks nothing by that.
 */
static int open_there_or_here(int process, struct source *source)
{
	const unsigned long forbidden = ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC;
	struct stat st;
	struct statvfs fs;
	if (source->flags & ATTACH_SOURCE_IN_ROOT)
		return open_elsewhere(process, open_source, source);
	int here = find_source(source);
	if (here < 0)
		return -1;
	int failed = fstat(here, &st) < 0 || fstatvfs(here, &fs) < 0;
	close_keeping_errno(here);
	if (failed)
		return -1;
	source->same = &st;
	int tree = open_elsewhere(process, open_source, source);
	if (tree >= 0 || !(errno == ESTALE || (errno == EINVAL && !(source->flags & ATTACH_RECURSIVE) && !(fs.f_flag & forbidden))))
		return tree;
	return open_source(source);
}

int send_source(const struct plan *plan, pid_t pid, int control, const struct message *message, int idmap,
		struct problem *problem)
{
	struct source source = { .path = "", .idmap = idmap };
	problem->op = message->op;
	if (is_attach(plan, message->op)) {
		struct cursor c = cursor_of(&plan->ops[message->op]);
		source.flags = take_u32(&c);
		take_bytes(&c, 28);
		take_string(&c);
		source.path = take_string(&c);
	}
	source.root = root_point(plan);
	snprintf(problem->text, sizeof problem->text, "%s", source.path);
	int process = (int)syscall(SYS_pidfd_open, pid, 0);
	int tree = process < 0 ? -1 : open_there_or_here(process, &source);
	int done = tree < 0 ? -1 : send_descriptor(control, message, sizeof *message, tree);
	if (tree >= 0)
		close_keeping_errno(tree);
	if (process >= 0)
		close_keeping_errno(process);
	return done;
}

int receive_source(struct sandbox *s, uint32_t idmap)
{
	struct message message;
	int tree;
	if (idmap > (uint32_t)s->parent->idmaps) {
		errno = EINVAL;
		return -1;
	}
	send_message(s, MESSAGE_SOURCE, 0, "", idmap > 0 ? s->parent->idmap[idmap - 1] : -1);
	if (receive_message(s->control, &message, &tree) && tree >= 0)
		return tree;
	errno = EPIPE;
	return -1;
}

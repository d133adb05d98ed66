#include "layer-write.h"
#include "beneath.h"
#include "tree.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define CHUNK (1 << 20)
#define NAME_SIZE 256
/* What of a path others put before it, when they look at it or remove it, may be longer by so much than it is now. */
#define MARGIN 160
/* Directories on the way that are kept open; those that are deeper are found again from the root. */
#define MAX_OPEN 200
#define OPEN_DIRECTORY (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

struct writing {
	struct layer_tree *tree;
	const int *tars;
	int root;
	uint32_t top;
	/* By inode: the node that was written of it, for its other names. */
	uint32_t *written;
	uint8_t *buffer;
	size_t longest; /* path */
};

/* Not inlined, as whatever has large buffers: directories are written by recursion. */
static _Noreturn __attribute__((noinline)) void refuse(const struct writing *w, uint32_t node, int error)
{
	char path[2 * TAR_MAX_PATH + 2], quoted[600];
	size_t size = tree_path(w->tree, node, path);
	fail(error, "unpack %s", tar_quoted(path, size, quoted, sizeof quoted));
}

static const char *name_of(const struct writing *w, uint32_t node, char *name)
{
	const struct node *n = &w->tree->nodes[node];
	memcpy(name, n->name, n->name_size);
	name[n->name_size] = 0;
	return name;
}

static __attribute__((noinline)) int open_node(const struct writing *w, uint32_t node)
{
	char path[2 * TAR_MAX_PATH + 2];
	size_t size = node == w->top ? 0 : tree_path(w->tree, node, path);
	int fd = open_beneath(w->root, path, size, OPEN_DIRECTORY & ~O_NOFOLLOW);
	if (fd < 0)
		refuse(w, node, errno);
	return fd;
}

static void set_xattrs(const struct writing *w, uint32_t node, int fd)
{
	const struct xattr_sets *x = &w->tree->xattrs;
	const struct xattr_set set = x->sets[inode_of(w->tree, node)->xattrs];
	for (uint32_t i = 0; i < set.count; i++) {
		const struct xattr *xattr = &x->all[x->members[set.first + i]];
		char name[MAX_XATTR_NAME + 1];
		memcpy(name, xattr->name, xattr->name_size);
		name[xattr->name_size] = 0;
		if (fsetxattr(fd, name, xattr->value, xattr->size, 0) == 0)
			continue;
		/* An opaque directory that does not say so would show what it hides. */
		int is_needed = strncmp(name, "trusted.", 8) == 0;
		if (is_needed || (errno != ENOTSUP && errno != EPERM))
			refuse(w, node, errno);
	}
}

/* why first the owner: a change of it takes setuid bits and capabilities away. */
static void set_open(const struct writing *w, uint32_t node, int fd)
{
	const struct inode *inode = inode_of(w->tree, node);
	const struct timespec time = { .tv_sec = inode->mtime, .tv_nsec = inode->nsec };
	if (fchown(fd, inode->uid, inode->gid) < 0 || fchmod(fd, inode->mode & 07777) < 0)
		refuse(w, node, errno);
	if (inode->xattrs)
		set_xattrs(w, node, fd);
	if (futimens(fd, (struct timespec[]){ time, time }) < 0)
		refuse(w, node, errno);
}

static void write_content(const struct writing *w, uint32_t node, int fd)
{
	const struct inode *inode = inode_of(w->tree, node);
	for (uint64_t done = 0; done < inode->size;) {
		size_t part = inode->size - done < CHUNK ? (size_t)(inode->size - done) : CHUNK;
		ssize_t n = pread(w->tars[inode->tar], w->buffer, part, (off_t)(inode->offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			refuse(w, node, n < 0 ? errno : EIO);
		for (ssize_t at = 0; at < n;) {
			ssize_t put = write(fd, w->buffer + at, (size_t)(n - at));
			if (put < 0 && errno != EINTR)
				refuse(w, node, errno);
			at += put > 0 ? put : 0;
		}
		done += (uint64_t)n;
	}
}

static void write_file(const struct writing *w, uint32_t node, int holder, const char *name)
{
	int fd = openat(holder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		refuse(w, node, errno);
	write_content(w, node, fd);
	set_open(w, node, fd);
	close(fd);
}

/* What is never opened: its own program may be behind it. */
static void write_node(const struct writing *w, uint32_t node, int holder, const char *name)
{
	const struct inode *inode = inode_of(w->tree, node);
	const struct timespec time = { .tv_sec = inode->mtime, .tv_nsec = inode->nsec };
	int is_link = S_ISLNK(inode->mode);
	dev_t device = S_ISCHR(inode->mode) || S_ISBLK(inode->mode) ? (dev_t)inode->device : 0;
	int made = is_link ? symlinkat(inode->target, holder, name) : mknodat(holder, name, inode->mode & S_IFMT, device);
	if (made < 0)
		refuse(w, node, errno);
	if (is_whiteout(inode))
		return;
	if (fchownat(holder, name, inode->uid, inode->gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    (!is_link && fchmodat(holder, name, inode->mode & 07777, 0) < 0) ||
	    utimensat(holder, name, (struct timespec[]){ time, time }, AT_SYMLINK_NOFOLLOW) < 0)
		refuse(w, node, errno);
}

static __attribute__((noinline)) void write_link(const struct writing *w, uint32_t node, int holder, const char *name, uint32_t first)
{
	char old[NAME_SIZE];
	int from = open_node(w, w->tree->nodes[first].parent);
	if (linkat(from, name_of(w, first, old), holder, name, 0) < 0)
		refuse(w, node, errno);
	close(from);
}

static void write_children(const struct writing *w, uint32_t directory, int *fd, int depth);

static void write_directory(const struct writing *w, uint32_t node, int *holder, const char *name, int depth)
{
	if (mkdirat(*holder, name, 0700) < 0)
		refuse(w, node, errno);
	int fd = openat(*holder, name, OPEN_DIRECTORY);
	if (fd < 0)
		refuse(w, node, errno);
	if (depth >= MAX_OPEN)
		close(*holder);
	write_children(w, node, &fd, depth + 1);
	set_open(w, node, fd);
	close(fd);
	if (depth >= MAX_OPEN)
		*holder = open_node(w, w->tree->nodes[node].parent);
}

static void write_child(const struct writing *w, uint32_t node, int *holder, int depth)
{
	char name[NAME_SIZE];
	uint32_t inode = w->tree->nodes[node].inode;
	if (w->tree->nodes[node].path_size > w->longest)
		refuse(w, node, ENAMETOOLONG);
	name_of(w, node, name);
	if (S_ISDIR(w->tree->inodes[inode].mode))
		write_directory(w, node, holder, name, depth);
	else if (w->written[inode])
		write_link(w, node, *holder, name, w->written[inode]);
	else if (S_ISREG(w->tree->inodes[inode].mode))
		write_file(w, node, *holder, name);
	else
		write_node(w, node, *holder, name);
	w->written[inode] = node;
}

/* In the order in which they were added, which is that of their contents. `fd` may be another one afterwards. */
static void write_children(const struct writing *w, uint32_t directory, int *fd, int depth)
{
	const struct node *nodes = w->tree->nodes;
	uint32_t count = 0;
	for (uint32_t child = nodes[directory].first; child; child = nodes[child].next)
		count += !(nodes[child].flags & NODE_DEAD);
	uint32_t *children = allocate(count * sizeof *children);
	uint32_t at = count;
	for (uint32_t child = nodes[directory].first; child; child = nodes[child].next)
		if (!(nodes[child].flags & NODE_DEAD))
			children[--at] = child;
	for (uint32_t i = 0; i < count; i++)
		write_child(w, children[i], fd, depth);
	free(children);
}

/* why: nobody who names what is here by a path from the root could look at it or remove it. */
static size_t longest_path(int directory)
{
	char link[64], place[TAR_MAX_PATH];
	snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
	ssize_t size = readlink(link, place, sizeof place);
	size_t used = (size > 0 ? (size_t)size : sizeof place / 2) + MARGIN;
	return used < TAR_MAX_PATH ? TAR_MAX_PATH - used : 0;
}

void layer_write(int directory, struct layer_tree *tree, uint32_t root, const int *tars)
{
	struct writing w = { .tree = tree, .tars = tars, .root = directory, .top = root };
	w.written = allocate(tree->inode_count * sizeof *w.written);
	memset(w.written, 0, tree->inode_count * sizeof *w.written);
	w.buffer = allocate(CHUNK);
	w.longest = longest_path(directory);
	write_children(&w, root, &directory, 0);
	set_open(&w, root, directory);
	free(w.buffer);
	free(w.written);
}

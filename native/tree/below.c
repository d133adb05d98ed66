#include "below.h"
#include "../openat2.h"
#include "tree.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int look_tree(const struct below *b, const char *path, struct below_entry *entry)
{
	uint32_t node = b->root;
	while (*path && node) {
		size_t size = strcspn(path, "/");
		node = S_ISDIR(inode_of(b->tree, node)->mode) ? tree_find(b->tree, node, path, size) : 0;
		path += size + (path[size] == '/');
	}
	if (!node)
		return 0;
	const struct inode *inode = inode_of(b->tree, node);
	*entry = (struct below_entry){ .mode = inode->mode, .uid = inode->uid, .gid = inode->gid, .mtime = inode->mtime, .nsec = inode->nsec };
	if (S_ISLNK(inode->mode))
		memcpy(entry->target, inode->target, inode->size + 1);
	return 1;
}

/* A directory without a link on the way; -1: there is none. */
static int open_holder(int root, const char *path, size_t size)
{
	char holder[TAR_MAX_PATH + 1];
	struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	memcpy(holder, path, size);
	holder[size] = 0;
	return openat2_beneath(root, size ? holder : ".", &how);
}

static int is_absent(int error)
{
	return error == ENOENT || error == ENOTDIR || error == ELOOP || error == ENAMETOOLONG;
}

static int look_directory(int root, const char *path, struct below_entry *entry)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	struct stat st;
	int holder = open_holder(root, path, slash ? (size_t)(slash - path) : 0);
	int found = holder < 0 ? -1 : fstatat(holder, name, &st, AT_SYMLINK_NOFOLLOW);
	if (found < 0 && !is_absent(errno))
		fail(errno, "looking into the layers below");
	ssize_t n = 0;
	if (found == 0 && S_ISLNK(st.st_mode)) {
		n = readlinkat(holder, name, entry->target, sizeof entry->target - 1);
		if (n < 0)
			fail(errno, "looking into the layers below");
	}
	entry->target[n] = 0;
	if (holder >= 0)
		close(holder);
	if (found < 0)
		return 0;
	entry->mode = st.st_mode;
	entry->uid = st.st_uid;
	entry->gid = st.st_gid;
	entry->mtime = st.st_mtim.tv_sec;
	entry->nsec = (uint32_t)st.st_mtim.tv_nsec;
	return 1;
}

int below_look(const struct below *b, const char *path, struct below_entry *entry)
{
	switch (b->kind) {
	case BELOW_NOTHING:
		return 0;
	case BELOW_TREE:
		return look_tree(b, path, entry);
	case BELOW_DIRECTORY:
		return look_directory(b->fd, path, entry);
	case BELOW_MISSING:
		break;
	}
	below_is_needed();
}

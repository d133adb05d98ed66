/*
 * What each entry does. Names lead through links that the layer has or its parents have, inside the root; the last
 * component is never followed.
 */
#include "layer-apply.h"
#include "tree.h"
#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>

/* Of one path, as the kernel counts. */
#define MAX_LINKS 40
#define MAX_ID 0xfffffffeLL
/* What the kernel's own form of device numbers holds. */
#define MAX_MAJOR 0xfff
#define MAX_MINOR 0xfffff
#define MAX_TARGET (TAR_MAX_PATH - 1)

#define WHITEOUT ".wh."
#define WHITEOUT_META ".wh..wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"
#define OPAQUE "trusted.overlay.opaque"

void layer_begin(struct layer *l, struct layer_tree *tree, uint32_t root, struct below below, uint16_t tar)
{
	*l = (struct layer){ .tree = tree, .below = below, .root = root, .tar = tar };
}

static const char *quoted_path(const char *path, size_t size)
{
	static char quoted[600];
	return tar_quoted(path, size, quoted, sizeof quoted);
}

static struct node *node_of(const struct layer *l, uint32_t node)
{
	return &l->tree->nodes[node];
}

static int is_directory(const struct layer *l, uint32_t node)
{
	return S_ISDIR(inode_of(l->tree, node)->mode);
}

static int is_hidden(const struct layer *l, uint32_t node)
{
	for (; node; node = node_of(l, node)->parent)
		if (node_of(l, node)->flags & NODE_HIDES)
			return 1;
	return 0;
}

static void make_opaque(struct layer *l, uint32_t directory)
{
	node_of(l, directory)->flags |= NODE_HIDES | NODE_OPAQUE;
}

/* What of the parents shows at a name that this layer does not have. */
static int look_below(struct layer *l, uint32_t holder, const char *name, size_t size, struct below_entry *entry)
{
	char path[2 * TAR_MAX_PATH + 2];
	if (l->below.kind == BELOW_NOTHING || is_hidden(l, holder))
		return 0;
	size_t at = tree_path(l->tree, holder, path);
	if (at + size > 2 * TAR_MAX_PATH)
		return 0;
	if (at > 0)
		path[at++] = '/';
	memcpy(path + at, name, size);
	path[at + size] = 0;
	return at + size <= TAR_MAX_PATH && below_look(&l->below, path, entry);
}

/* A directory that the tar does not name looks as it did in the parents. */
static uint32_t imply(struct layer *l, uint32_t holder, const char *name, size_t size, uint32_t replaced, const struct below_entry *below)
{
	struct inode inode = { .mode = S_IFDIR | 0755 };
	if (below && S_ISDIR(below->mode))
		inode = (struct inode){
			.mode = (uint16_t)(S_IFDIR | (below->mode & 07777)),
			.uid = below->uid,
			.gid = below->gid,
			.mtime = below->mtime,
			.nsec = below->nsec,
		};
	uint32_t number = tree_new_inode(l->tree, inode);
	if (!replaced)
		return tree_add(l->tree, holder, name, size, number);
	uint32_t made = tree_replace(l->tree, replaced, number);
	make_opaque(l, made);
	return made;
}

static uint32_t directory_at(struct layer *l, uint32_t from, const char *path, int *links);

/* Where a link in `holder` leads. */
static uint32_t follow(struct layer *l, uint32_t holder, const char *target, int *links)
{
	char path[2 * TAR_MAX_PATH + 2];
	size_t at = 0;
	if (++*links > MAX_LINKS) {
		size_t size = tree_path(l->tree, holder, path);
		fail(EBADMSG, "too many symbolic links at %s", quoted_path(path, size));
	}
	if (target[0] != '/') {
		at = tree_path(l->tree, holder, path);
		path[at++] = '/';
	}
	/* A target has less than TAR_MAX_PATH bytes, here as below. */
	strcpy(path + at, target);
	tar_confine(path);
	return directory_at(l, l->root, path, links);
}

/* The directory that one component names, made where it is missing. */
static uint32_t step(struct layer *l, uint32_t holder, const char *name, size_t size, int *links)
{
	struct below_entry below;
	uint32_t node = tree_find(l->tree, holder, name, size);
	if (node && is_directory(l, node))
		return node;
	if (node) {
		const struct inode *inode = inode_of(l->tree, node);
		return S_ISLNK(inode->mode) ? follow(l, holder, inode->target, links) : imply(l, holder, name, size, node, NULL);
	}
	int found = look_below(l, holder, name, size, &below);
	if (found && S_ISLNK(below.mode))
		return follow(l, holder, below.target, links);
	return imply(l, holder, name, size, 0, found ? &below : NULL);
}

static uint32_t directory_at(struct layer *l, uint32_t from, const char *path, int *links)
{
	uint32_t at = from;
	while (*path) {
		size_t size = strcspn(path, "/");
		at = step(l, at, path, size, links);
		path += size + (path[size] == '/');
	}
	return at;
}

/* The directory that holds a path's last component, which is *name. */
static uint32_t holder_of(struct layer *l, const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	size_t size = slash ? (size_t)(slash - path) : 0;
	*name = slash ? slash + 1 : path;
	if (size == 0)
		return l->root;
	if (l->latest && strncmp(l->latest_path, path, size) == 0 && l->latest_path[size] == 0)
		return l->latest;
	memcpy(l->latest_path, path, size);
	l->latest_path[size] = 0;
	int links = 0;
	return l->latest = directory_at(l, l->root, l->latest_path, &links);
}

/* A deletion is of what the parents had; what the same layer has there stays, wherever it stands in the tar. */
static void delete_below(struct layer *l, uint32_t holder, const char *name, size_t size)
{
	uint32_t node = tree_find(l->tree, holder, name, size);
	if (node && is_directory(l, node))
		make_opaque(l, node);
	if (node)
		return;
	/* why: in a directory that is in no other layer overlayfs shows deletions as names that lead nowhere. */
	struct below_entry below;
	if (!look_below(l, holder, name, size, &below))
		return;
	node = tree_add(l->tree, holder, name, size, tree_new_inode(l->tree, (struct inode){ .mode = S_IFCHR }));
	node_of(l, node)->flags |= NODE_HIDES;
}

/* 0: an ordinary name. */
static int take_whiteout(struct layer *l, uint32_t holder, const char *name)
{
	if (strncmp(name, WHITEOUT, strlen(WHITEOUT)) != 0)
		return 0;
	const char *deleted = name + strlen(WHITEOUT);
	if (strcmp(name, WHITEOUT_OPAQUE) == 0)
		make_opaque(l, holder);
	else if (strncmp(name, WHITEOUT_META, strlen(WHITEOUT_META)) != 0 && *deleted && strcmp(deleted, ".") != 0 &&
		 strcmp(deleted, "..") != 0)
		delete_below(l, holder, deleted, strlen(deleted));
	return 1;
}

static uint32_t id_of(const struct tar_entry *e, int64_t id)
{
	if (id < 0 || id > MAX_ID)
		fail(EBADMSG, "cannot read the archive: %s has the owner %lld, which Linux does not take", quoted_path(e->path, e->path_size),
		     (long long)id);
	return (uint32_t)id;
}

static struct inode plain_inode(const struct tar_entry *e, uint32_t type)
{
	return (struct inode){
		.mode = (uint16_t)(type | e->mode),
		.uid = id_of(e, e->uid),
		.gid = id_of(e, e->gid),
		.mtime = e->mtime,
	};
}

/* Its own attributes; what it has of others stays. */
static void set_directory(struct layer *l, uint32_t node, const struct tar_entry *e)
{
	struct inode inode = plain_inode(e, S_IFDIR);
	inode.xattrs = xattrs_set(&l->tree->xattrs, &l->tree->text, inode_of(l->tree, node)->xattrs, e);
	*inode_of(l->tree, node) = inode;
}

static void add_directory(struct layer *l, uint32_t holder, const char *name, size_t size, const struct tar_entry *e)
{
	uint32_t node = tree_find(l->tree, holder, name, size);
	if (!node)
		node = tree_add(l->tree, holder, name, size, tree_new_inode(l->tree, (struct inode){ .mode = S_IFDIR }));
	else if (!is_directory(l, node)) {
		/* What was there, a whiteout or an entry of this layer, had hidden the parents' directory. */
		node = tree_replace(l->tree, node, tree_new_inode(l->tree, (struct inode){ .mode = S_IFDIR }));
		make_opaque(l, node);
		l->latest = 0;
	}
	set_directory(l, node, e);
}

static uint32_t device_inode(struct layer *l, const struct tar_entry *e, const char *path, size_t size)
{
	struct inode inode = plain_inode(e, e->type == TAR_CHAR ? S_IFCHR : S_IFBLK);
	if (e->major < 0 || e->minor < 0 || e->major > MAX_MAJOR || e->minor > MAX_MINOR)
		fail(EBADMSG, "cannot read the archive: %s is a device %lld:%lld, which Linux does not have", quoted_path(path, size),
		     (long long)e->major, (long long)e->minor);
	inode.device = makedev((unsigned)e->major, (unsigned)e->minor);
	/* why: 0:0 would be a whiteout to overlayfs. */
	if (is_whiteout(&inode))
		fail(EBADMSG, "%s is a character device 0:0", quoted_path(path, size));
	return tree_new_inode(l->tree, inode);
}

static uint32_t symlink_inode(struct layer *l, const struct tar_entry *e)
{
	struct inode inode = plain_inode(e, S_IFLNK);
	if (e->link_size == 0 || e->link_size > MAX_TARGET)
		fail(EBADMSG, "cannot read the archive: %s is a symbolic link of %u bytes", quoted_path(e->path, e->path_size), e->link_size);
	inode.mode = S_IFLNK | 0777;
	inode.size = e->link_size;
	inode.target = arena_copy(&l->tree->text, e->link, e->link_size);
	return tree_new_inode(l->tree, inode);
}

/* The inode of an earlier entry of the layer. */
static uint32_t linked_inode(struct layer *l, const struct tar_entry *e, const char *path, size_t size)
{
	const char *name;
	char link[600];
	uint32_t holder = holder_of(l, e->link, &name);
	uint32_t node = *name ? tree_find(l->tree, holder, name, strlen(name)) : 0;
	if (!node || is_directory(l, node) || is_whiteout(inode_of(l->tree, node)))
		fail(EBADMSG, "%s is a hard link to %s, which is not in the layer", quoted_path(path, size),
		     tar_quoted(e->link, e->link_size, link, sizeof link));
	return node_of(l, node)->inode;
}

static uint32_t inode_for(struct layer *l, const struct tar_entry *e, const char *path, size_t size)
{
	struct inode inode;
	switch (e->type) {
	case TAR_HARDLINK:
		return linked_inode(l, e, path, size);
	case TAR_SYMLINK:
		return symlink_inode(l, e);
	case TAR_CHAR:
	case TAR_BLOCK_DEVICE:
		return device_inode(l, e, path, size);
	case TAR_FIFO:
		return tree_new_inode(l->tree, plain_inode(e, S_IFIFO));
	default:
		inode = plain_inode(e, S_IFREG);
		inode.size = e->size;
		inode.offset = e->offset;
		inode.tar = l->tar;
		inode.xattrs = xattrs_set(&l->tree->xattrs, &l->tree->text, 0, e);
		return tree_new_inode(l->tree, inode);
	}
}

/* Anything but a directory takes the place of what was there before, save for itself. */
static void add_other(struct layer *l, uint32_t holder, const char *name, size_t size, const struct tar_entry *e)
{
	char path[2 * TAR_MAX_PATH + 2];
	uint32_t node = tree_find(l->tree, holder, name, size);
	size_t at = tree_path(l->tree, holder, path);
	if (at > 0)
		path[at++] = '/';
	strcpy(path + at, name);
	if (node) {
		/* Gone before a hard link is looked up, so that none leads to itself. */
		tree_remove(l->tree, node);
		l->latest = 0;
	}
	uint32_t inode = inode_for(l, e, path, at + size);
	if (node)
		tree_replace(l->tree, node, inode);
	else
		tree_add(l->tree, holder, name, size, inode);
}

void layer_add(struct layer *l, const struct tar_entry *e)
{
	const char *name;
	uint32_t holder = holder_of(l, e->path, &name);
	size_t size = strlen(name);
	if (size == 0) {
		if (e->type == TAR_DIRECTORY)
			set_directory(l, l->root, e);
		return;
	}
	if (take_whiteout(l, holder, name))
		return;
	if (e->type == TAR_DIRECTORY)
		add_directory(l, holder, name, size, e);
	else
		add_other(l, holder, name, size, e);
}

/* Of parents' files in a directory that turned out to hide all of them. */
static void drop_useless_deletions(struct layer *l)
{
	for (uint32_t i = 1; i < l->tree->node_count; i++)
		if (!(node_of(l, i)->flags & NODE_DEAD) && is_whiteout(inode_of(l->tree, i)) && is_hidden(l, node_of(l, i)->parent))
			tree_remove(l->tree, i);
}

void layer_end(struct layer *l)
{
	struct layer_tree *tree = l->tree;
	drop_useless_deletions(l);
	for (uint32_t i = 1; i < tree->node_count; i++)
		if (tree->nodes[i].flags & NODE_OPAQUE && !(tree->nodes[i].flags & NODE_DEAD))
			inode_of(tree, i)->xattrs =
				xattrs_with(&tree->xattrs, &tree->text, inode_of(tree, i)->xattrs, OPAQUE, strlen(OPAQUE), "y", 1);
}

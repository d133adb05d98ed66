/*
 * index: the layers of a stack, as tars, become one EROFS image whose file contents are the tars' own blocks.
 * apply: they become files in a directory.
 *
 * request      u32 INDEX_*, u32 tars; the root's attributes where no tar names it: u32 mode, uid, gid, nsec, u64 mtime;
 *              for each tar, the lowest first: u32 1: its digest is asked for, and 64 bytes that name it (hex)
 * descriptors  the image, to be written from where it stands, or the empty directory; the tars, from where they stand; what lies below them, a
 *              directory (INDEX_BELOW)
 * DONE         u32 status; where that is 0: the root's attributes as above, u32 1: it hides all that is below it, and for
 *              each tar 32 bytes SHA-256 (zeros where it was not asked for). Status 1: what lies below is needed (INDEX_BELOW_MISSING), call again
 *
 * One tar becomes a layer of an overlay: deletions are 0:0 devices and opaque xattrs. Several are everything that there
 * is: deletions are carried out.
 */
#include "below.h"
#include "erofs-write.h"
#include "layer-apply.h"
#include "layer-write.h"
#include "sha256.h"
#include "tree.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK (1 << 20)
#define MAX_TARS 4096

enum { INDEX_BELOW = 1, INDEX_BELOW_MISSING = 2 };
enum { STATUS_DONE = 0, STATUS_BELOW_IS_NEEDED = 1 };

struct tar {
	int fd;
	int is_hashed;
	uint8_t tag[64], digest[SHA256_SIZE];
};

struct stack {
	uint32_t count;
	struct tar *tars;
	struct inode root;
	struct below below;
};

void below_is_needed(void)
{
	done(&(uint32_t){ STATUS_BELOW_IS_NEEDED }, sizeof(uint32_t));
}

static void hash_tar(struct tar *tar, uint8_t *buffer)
{
	struct sha256 s;
	off_t at = 0;
	sha256_begin(&s);
	for (;;) {
		/* At a place of its own: the reader moves the descriptor's. */
		ssize_t n = pread(tar->fd, buffer, CHUNK, at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			fail(errno, "reading a layer");
		if (n == 0)
			break;
		sha256_add(&s, buffer, (size_t)n);
		at += n;
	}
	sha256_end(&s, tar->digest);
}

static void *hash_all(void *context)
{
	struct stack *stack = context;
	uint8_t *buffer = allocate(CHUNK);
	for (uint32_t i = 0; i < stack->count; i++)
		if (stack->tars[i].is_hashed)
			hash_tar(&stack->tars[i], buffer);
	free(buffer);
	return NULL;
}

static void take_tars(struct request *r, struct stack *stack)
{
	stack->tars = allocate(stack->count * sizeof *stack->tars);
	for (uint32_t i = 0; i < stack->count; i++) {
		uint32_t size;
		struct tar *tar = &stack->tars[i];
		*tar = (struct tar){ .fd = FIRST_FD + 1 + (int)i, .is_hashed = take_u32(r) != 0 };
		const uint8_t *tag = take_bytes(r, &size);
		if (!tag || size != sizeof tar->tag)
			fail(EINVAL, "the request");
		memcpy(tar->tag, tag, size);
	}
}

static void take_stack(struct request *r, struct stack *stack)
{
	uint32_t flags = take_u32(r);
	stack->count = take_u32(r);
	stack->root = (struct inode){ .mode = (uint16_t)(S_IFDIR | (take_u32(r) & 07777)) };
	stack->root.uid = take_u32(r);
	stack->root.gid = take_u32(r);
	stack->root.nsec = take_u32(r);
	stack->root.mtime = (int64_t)take_u64(r);
	if (r->bad || stack->count == 0 || stack->count > MAX_TARS || stack->root.nsec >= 1000000000u)
		fail(EINVAL, "the request");
	take_tars(r, stack);
	stack->below = (struct below){ .kind = flags & INDEX_BELOW_MISSING ? BELOW_MISSING : BELOW_NOTHING };
	if (flags & INDEX_BELOW)
		stack->below = (struct below){ .kind = BELOW_DIRECTORY, .fd = FIRST_FD + 1 + (int)stack->count };
	if (r->bad || r->at != r->end || (stack->below.kind != BELOW_NOTHING && stack->count > 1))
		fail(EINVAL, "the request");
	descriptors(1 + (int)stack->count + (flags & INDEX_BELOW ? 1 : 0));
}

static void read_tar(struct layer_tree *tree, uint32_t root, struct below below, const struct stack *stack, uint32_t which)
{
	struct layer layer;
	struct tar_entry entry;
	struct tar_reader *reader = tar_open(stack->tars[which].fd, NULL);
	layer_begin(&layer, tree, root, below, (uint16_t)which);
	while (tar_next(reader, &entry))
		layer_add(&layer, &entry);
	/* Of several nobody but the next one sees what they delete. */
	if (stack->count == 1)
		layer_end(&layer);
	tar_close(reader);
}

static uint32_t one_layer(struct layer_tree *tree, const struct stack *stack)
{
	uint32_t root = tree_new_root(tree, stack->root);
	read_tar(tree, root, stack->below, stack, 0);
	return root;
}

static uint32_t whole_stack(struct layer_tree *tree, const struct stack *stack)
{
	uint32_t root = tree_new_root(tree, stack->root);
	for (uint32_t i = 0; i < stack->count; i++) {
		struct layer_tree layer;
		tree_open(&layer);
		/* A layer that does not name the root leaves it as it is. */
		uint32_t top = tree_new_root(&layer, *inode_of(tree, root));
		inode_of(&layer, top)->xattrs = 0;
		read_tar(&layer, top, (struct below){ .kind = BELOW_TREE, .tree = tree, .root = root }, stack, i);
		layer_merge(tree, root, &layer, top);
		tree_close(&layer);
	}
	return root;
}

typedef void write_stack(struct layer_tree *tree, uint32_t root, const struct stack *stack);

static void write_image(struct layer_tree *tree, uint32_t root, const struct stack *stack)
{
	struct erofs_source *sources = allocate(stack->count * sizeof *sources);
	for (uint32_t i = 0; i < stack->count; i++) {
		struct stat st;
		if (fstat(stack->tars[i].fd, &st) < 0)
			fail(errno, "reading a layer");
		sources[i].size = (uint64_t)st.st_size;
		memcpy(sources[i].tag, stack->tars[i].tag, sizeof sources[i].tag);
	}
	erofs_write(FIRST_FD, tree, root, sources, stack->count);
	free(sources);
}

static void write_files(struct layer_tree *tree, uint32_t root, const struct stack *stack)
{
	int *tars = allocate(stack->count * sizeof *tars);
	for (uint32_t i = 0; i < stack->count; i++)
		tars[i] = stack->tars[i].fd;
	layer_write(FIRST_FD, tree, root, tars);
	free(tars);
}

static _Noreturn void tell(const struct stack *stack, const struct inode *root, uint32_t is_opaque)
{
	const size_t head = 32, size = head + stack->count * SHA256_SIZE;
	uint8_t *payload = allocate(size);
	const uint32_t numbers[] = { STATUS_DONE, root->mode & 07777u, root->uid, root->gid, root->nsec };
	memcpy(payload, numbers, sizeof numbers);
	memcpy(payload + sizeof numbers, &root->mtime, sizeof root->mtime);
	memcpy(payload + sizeof numbers + sizeof root->mtime, &is_opaque, sizeof is_opaque);
	for (uint32_t i = 0; i < stack->count; i++)
		memcpy(payload + head + i * SHA256_SIZE, stack->tars[i].digest, SHA256_SIZE);
	done(payload, size);
}

static void run(struct request *r, write_stack *write)
{
	struct stack stack;
	struct layer_tree tree;
	pthread_t hashing;
	take_stack(r, &stack);
	start_thread(&hashing, hash_all, &stack);
	tree_open(&tree);
	uint32_t root = stack.count == 1 ? one_layer(&tree, &stack) : whole_stack(&tree, &stack);
	const struct inode attributes = *inode_of(&tree, root);
	const uint32_t is_opaque = (tree.nodes[root].flags & NODE_OPAQUE) != 0;
	write(&tree, root, &stack);
	pthread_join(hashing, NULL);
	tell(&stack, &attributes, is_opaque);
}

void index_job(struct request *r)
{
	run(r, write_image);
}

void apply_job(struct request *r)
{
	run(r, write_files);
}

#include "layers.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef FSCONFIG_SET_FD
#define FSCONFIG_SET_FD 5
#endif

/* More than overlayfs takes of one plan (500). */
#define MAX_LAYERS 512

/* why: written by the parent alone: the child may live in its memory, with descriptors of its own. */
static struct layer {
	char *image, how;
	uint32_t hash;
	int fd;
	uint64_t used; /* the latest plan that wanted it */
} layers[MAX_LAYERS];
static int count;
static uint64_t plans;

static const char *next_string(void *cursor)
{
	return take_string(cursor);
}

struct lower take_lower(struct cursor *c)
{
	return lower_read(next_string, c);
}

/* FNV-1a: long paths with a long common beginning are compared once alone. */
static uint32_t hash_of(const char *text)
{
	uint32_t hash = 2166136261u;
	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 16777619u;
	return hash;
}

/* One that must be attached is not kept: it ends with the namespace that it is attached in. */
static struct layer *find(const struct lower *lower)
{
	if (lower->directory || lower_is_attached(lower))
		return NULL;
	const uint32_t hash = hash_of(lower->image);
	for (int i = 0; i < count; i++)
		if (layers[i].hash == hash && layers[i].how == *lower->how && strcmp(layers[i].image, lower->image) == 0)
			return &layers[i];
	return NULL;
}

/* Of those that this plan does not need the one that was not wanted for longest; 0: there is none. */
static int drop_one(void)
{
	struct layer *oldest = NULL;
	for (int i = 0; i < count; i++)
		if (layers[i].used != plans && (!oldest || layers[i].used < oldest->used))
			oldest = &layers[i];
	if (!oldest)
		return 0;
	close(oldest->fd);
	free(oldest->image);
	*oldest = layers[--count];
	return 1;
}

static int mount_layer(const struct lower *lower)
{
	struct layer *known = find(lower);
	if (known) {
		known->used = plans;
		return 0;
	}
	while (count == MAX_LAYERS && drop_one())
		;
	int fd = erofs_mount(lower);
	while (fd < 0 && (errno == EMFILE || errno == ENFILE) && drop_one())
		fd = erofs_mount(lower);
	char *image = fd < 0 ? NULL : strdup(lower->image);
	if (fd < 0)
		return -1;
	if (!image || count == MAX_LAYERS) {
		close(fd);
		errno = image ? E2BIG : ENOMEM;
		free(image);
		return -1;
	}
	layers[count++] = (struct layer){ image, *lower->how, hash_of(image), fd, plans };
	return 0;
}

/* At the front of a mount's payload. */
static int prepare_mount(struct parent *p, struct cursor c)
{
	uint32_t kind = take_u32(&c);
	take_u32(&c);
	uint32_t lowers = take_u32(&c);
	take_string(&c);
	if (kind != MOUNT_KIND_OVERLAY)
		return 0;
	take_string(&c);
	take_string(&c);
	for (uint32_t i = 0; i < lowers; i++) {
		struct lower lower = take_lower(&c);
		if (lower.directory || lower_is_attached(&lower))
			continue;
		p->what = lower.image;
		if (mount_layer(&lower) < 0)
			return -1;
	}
	return 0;
}

int layers_prepare(struct parent *p)
{
	const char *what = p->what;
	plans++;
	for (p->op = 0; p->op < p->plan->count; p->op++) {
		const struct op *op = &p->plan->ops[p->op];
		struct cursor c = cursor_of(op);
		if (op->code == OP_ROOT_TREE)
			take_bytes(&c, 12);
		if ((op->code == OP_ROOT || op->code == OP_ASSEMBLED || op->code == OP_ROOT_TREE) && prepare_mount(p, c) < 0)
			return -1;
	}
	p->op = 0;
	p->what = what;
	return 0;
}

int lower_open(const struct lower *lower, int *is_borrowed)
{
	const struct layer *known = find(lower);
	*is_borrowed = known != NULL;
	if (known)
		return known->fd;
	return lower->directory ? open(lower->directory, O_PATH | O_DIRECTORY | O_CLOEXEC) : erofs_mount(lower);
}

int lower_clone(const struct lower *lower)
{
	int is_borrowed, fd = lower_open(lower, &is_borrowed);
	if (!is_borrowed && !lower->directory)
		return fd;
	int clone = fd < 0 ? -1 : (int)syscall(SYS_open_tree, fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	int error = errno;
	if (!is_borrowed && fd >= 0)
		close(fd);
	errno = error;
	/* why: before 6.15 nothing can be cloned that is attached nowhere. */
	return clone < 0 && is_borrowed && errno == EINVAL ? erofs_mount(lower) : clone;
}

int lower_add(int fs, const struct lower *lower, const char *point, int *attached)
{
	int is_borrowed, fd = lower_open(lower, &is_borrowed);
	int done = fd < 0 ? -1 : 0;
	if (done == 0 && !lower->directory && lower_is_attached(lower)) {
		done = (int)syscall(SYS_move_mount, fd, "", AT_FDCWD, point, MOVE_MOUNT_F_EMPTY_PATH);
		*attached += done == 0;
	}
	if (done == 0)
		done = (int)syscall(SYS_fsconfig, fs, FSCONFIG_SET_FD, "lowerdir+", NULL, fd);
	/* why: a descriptor has no length limit (kernel >= 6.13), the string form (6.8) takes 255 bytes. */
	if (done < 0 && fd >= 0 && (errno == EINVAL || errno == EBADF)) {
		char link[40];
		snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
		done = (int)syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "lowerdir+", link, 0);
	}
	int error = errno;
	if (!is_borrowed && fd >= 0)
		close(fd);
	errno = error;
	return done;
}

#include "walk.h"
#include "beneath.h"
#include "read-directory.h"
#include "tree.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

/* As long as a record can say. */
#define MAX_PATH UINT16_MAX
/* Reading directories waits more than it computes where they are not in memory. */
#define MAX_THREADS 16

struct directory;

/* What lies in a directory stands in its parent's records, before `offset`. */
struct child {
	size_t offset;
	struct directory *directory;
};

struct directory {
	struct directory *next; /* of those that wait to be read */
	const struct walk_root *root;
	char *path; /* from the root's own */
	uint32_t length;
	uint16_t depth;
	int is_read;
	size_t entries;
	struct bytes records, children;
};

struct walking {
	struct walk *walk;
	pthread_mutex_t lock;
	pthread_cond_t waiting_grew, one_is_read;
	struct directory *waiting;
	const struct directory *wanted; /* what is told next */
	int idle, ended;
};

static struct directory *make_directory(const struct walk_root *root, const char *above, size_t above_length,
					const char *name, size_t length, uint16_t depth)
{
	size_t slash = above_length > 0;
	if (above_length + slash + length > MAX_PATH)
		fail(ENAMETOOLONG, "a path of %zu bytes", above_length + slash + length);
	struct directory *made = allocate(sizeof *made);
	*made = (struct directory){ .root = root, .length = (uint32_t)(above_length + slash + length), .depth = depth };
	made->path = allocate(made->length + 1);
	memcpy(made->path, above, above_length);
	if (slash)
		made->path[above_length] = '/';
	memcpy(made->path + above_length + slash, name, length);
	made->path[made->length] = 0;
	return made;
}

static int is_text(const struct pruned *pruned, const char *text, size_t length)
{
	return pruned->length == length && memcmp(pruned->text, text, length) == 0;
}

static int is_path(const struct pruned *pruned, const struct directory *in, const char *name, size_t length)
{
	if (in->length == 0)
		return is_text(pruned, name, length);
	return pruned->length == in->length + 1 + length && pruned->text[in->length] == '/' &&
	       memcmp(pruned->text, in->path, in->length) == 0 &&
	       memcmp(pruned->text + in->length + 1, name, length) == 0;
}

static int is_pruned(void *context, const char *name, size_t length)
{
	const struct directory *in = context;
	for (uint32_t i = 0; i < in->root->pruned_count; i++) {
		const struct pruned *pruned = &in->root->pruned[i];
		const char *slash = memrchr(in->path, '/', in->length), *own = slash ? slash + 1 : in->path;
		int is_it = pruned->how & PRUNE_BELOW && pruned->how & PRUNE_ANYWHERE ?
				    is_text(pruned, own, in->length - (size_t)(own - in->path)) :
			    pruned->how & PRUNE_BELOW    ? is_text(pruned, in->path, in->length) :
			    pruned->how & PRUNE_ANYWHERE ? is_text(pruned, name, length) :
							   is_path(pruned, in, name, length);
		if (is_it)
			return 1;
	}
	return 0;
}

static int open_directory(const struct directory *directory)
{
	const struct walk_root *root = directory->root;
	size_t slash = root->length > 0 && directory->length > 0, length = root->length + slash + directory->length;
	char *path = allocate(length + 1);
	memcpy(path, root->path, root->length);
	if (slash)
		path[root->length] = '/';
	memcpy(path + root->length + slash, directory->path, directory->length);
	path[length] = 0;
	int fd = open_beneath(root->fd, path, length, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	if (fd < 0)
		fail(errno == ENOENT || errno == ELOOP || errno == ENOTDIR ? ESTALE : errno, "%s", path);
	free(path);
	return fd;
}

static uint32_t file_system_of(struct walking *walking, int fd, const struct statx *st)
{
	struct walk *walk = walking->walk;
	for (uint32_t i = 0; i < walk->file_system_count; i++)
		if (walk->file_systems[i].major == st->stx_dev_major && walk->file_systems[i].minor == st->stx_dev_minor)
			return i;
	struct file_system *grown = realloc(walk->file_systems, (walk->file_system_count + 1) * sizeof *grown);
	if (!grown)
		fail(ENOMEM, "memory");
	walk->file_systems = grown;
	describe_file_system(fd, st, &grown[walk->file_system_count]);
	return walk->file_system_count++;
}

/* The directories in it are put before those that wait, the first of them first: they are told next. */
static void give_out(struct walking *walking, struct directory *directory, size_t entries)
{
	struct child *children = (struct child *)directory->children.data;
	size_t count = directory->children.used / sizeof *children;
	pthread_mutex_lock(&walking->lock);
	walking->walk->entries += entries;
	if (walking->walk->entries > walking->walk->max_entries)
		fail(E2BIG, "more than %llu entries", (unsigned long long)walking->walk->max_entries);
	for (size_t i = count; i-- > 0;) {
		children[i].directory->next = walking->waiting;
		walking->waiting = children[i].directory;
	}
	directory->entries = entries;
	directory->is_read = 1;
	/* This thread takes one of them itself. */
	for (size_t wake = count < 2 ? 0 : count - 1; wake > 0 && walking->idle > 0; wake--, walking->idle--)
		pthread_cond_signal(&walking->waiting_grew);
	if (walking->wanted == directory)
		pthread_cond_signal(&walking->one_is_read);
	pthread_mutex_unlock(&walking->lock);
}

static void read_one(struct walking *walking, struct reading *reading, struct directory *directory)
{
	int fd = open_directory(directory);
	size_t count;
	struct found *found = read_directory(reading, fd, directory->path, &count, is_pruned, directory);
	uint32_t file_system = 0, major = UINT32_MAX, minor = UINT32_MAX;
	for (size_t i = 0; i < count; i++) {
		const struct statx *st = &found[i].st;
		if (st->stx_dev_major != major || st->stx_dev_minor != minor) {
			pthread_mutex_lock(&walking->lock);
			file_system = file_system_of(walking, fd, st);
			pthread_mutex_unlock(&walking->lock);
			major = st->stx_dev_major;
			minor = st->stx_dev_minor;
		}
		put_record(&directory->records, reading, &found[i], fd, directory->depth, file_system,
			   walking->walk->capabilities);
		if (!found[i].is_directory)
			continue;
		struct child *child = (struct child *)extend(&directory->children, sizeof *child);
		child->offset = directory->records.used;
		child->directory = make_directory(directory->root, directory->path, directory->length,
						  (const char *)reading->names.data + found[i].name, found[i].length,
						  (uint16_t)(directory->depth + 1));
	}
	close(fd);
	give_out(walking, directory, count);
}

static void *work(void *context)
{
	struct walking *walking = context;
	struct reading reading = { 0 };
	for (;;) {
		pthread_mutex_lock(&walking->lock);
		while (!walking->waiting && !walking->ended) {
			walking->idle++;
			pthread_cond_wait(&walking->waiting_grew, &walking->lock);
		}
		struct directory *directory = walking->waiting;
		if (directory)
			walking->waiting = directory->next;
		pthread_mutex_unlock(&walking->lock);
		if (!directory)
			break;
		read_one(walking, &reading, directory);
	}
	free(reading.names.data);
	free(reading.found.data);
	free(reading.entries);
	return NULL;
}

struct place {
	struct directory *directory;
	size_t told, child;
};

/* Tells a directory and what is below it, without recursion: names can be a single byte, so paths are deep. */
static uint64_t tell_below(struct walking *walking, struct directory *root,
		       void (*tell)(void *, const uint8_t *, size_t), void *context)
{
	struct bytes stack = { 0 };
	uint64_t told = 0;
	*(struct place *)extend(&stack, sizeof(struct place)) = (struct place){ root, 0, 0 };
	while (stack.used > 0) {
		struct place *at = (struct place *)(stack.data + stack.used) - 1;
		struct directory *directory = at->directory;
		pthread_mutex_lock(&walking->lock);
		walking->wanted = directory;
		while (!directory->is_read)
			pthread_cond_wait(&walking->one_is_read, &walking->lock);
		pthread_mutex_unlock(&walking->lock);
		const struct child *children = (const struct child *)directory->children.data;
		int is_last = at->child == directory->children.used / sizeof *children;
		size_t until = is_last ? directory->records.used : children[at->child].offset;
		if (until > at->told)
			tell(context, directory->records.data + at->told, until - at->told);
		at->told = until;
		if (!is_last) {
			struct directory *next = children[at->child++].directory;
			*(struct place *)extend(&stack, sizeof(struct place)) = (struct place){ next, 0, 0 };
			continue;
		}
		told += directory->entries;
		free(directory->records.data);
		free(directory->children.data);
		free(directory->path);
		free(directory);
		stack.used -= sizeof(struct place);
	}
	free(stack.data);
	return told;
}

void walk_all(struct walk *walk, void (*tell)(void *context, const uint8_t *records, size_t size), void *context)
{
	struct walking walking = { .walk = walk, .lock = PTHREAD_MUTEX_INITIALIZER };
	pthread_cond_init(&walking.waiting_grew, NULL);
	pthread_cond_init(&walking.one_is_read, NULL);
	struct directory **roots = allocate(walk->root_count * sizeof *roots);
	for (uint32_t i = walk->root_count; i-- > 0;) {
		roots[i] = make_directory(&walk->roots[i], "", 0, "", 0, 0);
		roots[i]->next = walking.waiting;
		walking.waiting = roots[i];
	}
	int count = 2 * processors() < MAX_THREADS ? 2 * processors() : MAX_THREADS;
	pthread_t threads[MAX_THREADS];
	for (int i = 0; i < count; i++)
		start_thread(&threads[i], work, &walking);
	for (uint32_t i = 0; i < walk->root_count; i++) {
		uint64_t told = tell_below(&walking, roots[i], tell, context);
		struct listed end = { .type = LISTED_END, .mode = i, .size = told };
		tell(context, (const uint8_t *)&end, sizeof end);
	}
	pthread_mutex_lock(&walking.lock);
	walking.ended = 1;
	pthread_cond_broadcast(&walking.waiting_grew);
	pthread_mutex_unlock(&walking.lock);
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	free(roots);
}

#include "read-directory.h"
#include "tree.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define ENTRIES_SIZE (1 << 16)
#define CAPABILITY "security.capability"

/* Of the kernel's struct linux_dirent64. */
struct entry {
	uint64_t ino;
	int64_t offset;
	uint16_t length;
	uint8_t type;
	char name[];
};

static void take_name(struct reading *reading, int fd, const char *path, const char *name)
{
	size_t length = strlen(name);
	struct found *found = (struct found *)extend(&reading->found, sizeof *found);
	found->name = (uint32_t)reading->names.used;
	found->length = (uint32_t)length;
	memcpy(extend(&reading->names, length + 1), name, length + 1);
	if (statx(fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &found->st) < 0)
		fail(errno == ENOENT ? ESTALE : errno, "%s%s%s", path, *path ? "/" : "", name);
	found->is_directory = S_ISDIR(found->st.stx_mode);
}

static int compare(const void *a, const void *b, void *names)
{
	const struct found *one = a, *other = b;
	return compare_stored((const char *)names + one->name, one->length, one->is_directory,
			      (const char *)names + other->name, other->length, other->is_directory);
}

struct found *read_directory(struct reading *reading, int fd, const char *path, size_t *count,
			     int (*is_pruned)(void *context, const char *name, size_t length), void *context)
{
	reading->names.used = reading->found.used = 0;
	if (!reading->entries)
		reading->entries = allocate(ENTRIES_SIZE);
	for (;;) {
		long size = syscall(SYS_getdents64, fd, reading->entries, ENTRIES_SIZE);
		if (size < 0)
			fail(errno == ENOENT ? ESTALE : errno, "%s", path);
		if (size == 0)
			break;
		for (long at = 0; at < size;) {
			const struct entry *entry = (const struct entry *)(reading->entries + at);
			at += entry->length;
			const char *name = entry->name;
			if (name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2])))
				continue;
			if (!is_pruned || !is_pruned(context, name, strlen(name)))
				take_name(reading, fd, path, name);
		}
	}
	*count = reading->found.used / sizeof(struct found);
	qsort_r(reading->found.data, *count, sizeof(struct found), compare, reading->names.data);
	return (struct found *)reading->found.data;
}

/* Bytes of the capability, 0: none. */
static size_t read_capability(int fd, const char *name, uint8_t value[UINT8_MAX])
{
	char path[sizeof "/proc/self/fd/2147483647/" + NAME_MAX];
	snprintf(path, sizeof path, "/proc/self/fd/%d/%s", fd, name);
	ssize_t size = lgetxattr(path, CAPABILITY, value, UINT8_MAX);
	if (size < 0 && errno != ENODATA && errno != EOPNOTSUPP)
		fail(errno, "%s of %s", CAPABILITY, name);
	return size < 0 ? 0 : (size_t)size;
}

void put_record(struct bytes *out, const struct reading *reading, const struct found *found, int fd, uint16_t depth,
		uint32_t file_system, int capability)
{
	const char *name = (const char *)reading->names.data + found->name;
	struct listed listed = listed_of(&found->st);
	char target[PATH_MAX];
	uint8_t value[UINT8_MAX];
	ssize_t link = 0;
	if (listed.type == LISTED_SYMLINK && (link = readlinkat(fd, name, target, sizeof target)) < 0)
		fail(errno == ENOENT || errno == EINVAL ? ESTALE : errno, "%s", name);
	size_t caps = capability && listed.type == LISTED_FILE ? read_capability(fd, name, value) : 0;
	listed.name_length = (uint16_t)found->length;
	listed.link_length = (uint16_t)link;
	listed.capability_length = (uint8_t)caps;
	listed.depth = depth;
	listed.file_system = file_system;
	size_t size = listed_size(&listed);
	uint8_t *at = extend(out, size), *end = at + size;
	memcpy(at, &listed, sizeof listed);
	memcpy(at += sizeof listed, name, found->length);
	memcpy(at += found->length, target, (size_t)link);
	memcpy(at += link, value, caps);
	memset(at + caps, 0, (size_t)(end - at) - caps);
}

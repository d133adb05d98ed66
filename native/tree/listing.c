#include "listing.h"
#include "tree.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

uint8_t *extend(struct bytes *bytes, size_t size)
{
	if (size > bytes->room - bytes->used) {
		size_t room = bytes->room ? bytes->room : 1024;
		while (room - bytes->used < size)
			room *= 2;
		uint8_t *data = realloc(bytes->data, room);
		if (!data)
			fail(ENOMEM, "memory");
		bytes->data = data;
		bytes->room = room;
	}
	uint8_t *at = bytes->data + bytes->used;
	bytes->used += size;
	return at;
}

static uint8_t type_of(unsigned mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return LISTED_DIRECTORY;
	case S_IFLNK:
		return LISTED_SYMLINK;
	case S_IFCHR:
		return LISTED_CHAR;
	case S_IFBLK:
		return LISTED_BLOCK;
	case S_IFIFO:
		return LISTED_FIFO;
	case S_IFSOCK:
		return LISTED_SOCKET;
	default:
		return LISTED_FILE;
	}
}

struct listed listed_of(const struct statx *st)
{
	uint8_t type = type_of(st->stx_mode);
	int is_device = type == LISTED_CHAR || type == LISTED_BLOCK;
	return (struct listed){
		.type = type,
		.mode = st->stx_mode & 07777,
		.uid = st->stx_uid,
		.gid = st->stx_gid,
		.nlink = st->stx_nlink,
		.size = is_device ? (uint64_t)st->stx_rdev_major << 32 | st->stx_rdev_minor : st->stx_size,
		.mtime = st->stx_mtime.tv_sec,
		.mtime_ns = st->stx_mtime.tv_nsec,
		.ctime = st->stx_ctime.tv_sec,
		.ctime_ns = st->stx_ctime.tv_nsec,
		.ino = st->stx_ino,
	};
}

int compare_stored(const char *a, size_t a_length, int a_directory, const char *b, size_t b_length, int b_directory)
{
	size_t common = a_length < b_length ? a_length : b_length;
	int order = memcmp(a, b, common);
	if (order)
		return order;
	/* why: names hold no '/', so that of the shorter one meets another byte of the longer one, or its end. */
	int a_next = a_length > common ? (uint8_t)a[common] : a_directory ? '/' : 0;
	int b_next = b_length > common ? (uint8_t)b[common] : b_directory ? '/' : 0;
	return a_next - b_next;
}

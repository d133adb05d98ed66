#include "walk.h"
#include <fcntl.h>
#include <string.h>
#include <sys/vfs.h>

#ifndef STATX_MNT_ID
#define STATX_MNT_ID 0x1000U
#endif
#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000U
#endif

/* stx_mnt_id of struct statx (linux/stat.h), which older C libraries do not name. */
static uint64_t mount_of(const struct statx *st)
{
	uint64_t id;
	memcpy(&id, (const char *)st + 0x90, sizeof id);
	return id;
}

void describe_file_system(int fd, const struct statx *st, struct file_system *to)
{
	struct statfs fs;
	struct statx own;
	*to = (struct file_system){ .major = st->stx_dev_major, .minor = st->stx_dev_minor };
	if (fstatfs(fd, &fs) == 0) {
		to->type = (uint64_t)fs.f_type;
		memcpy(&to->id, &fs.f_fsid, sizeof to->id);
	}
	if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID | STATX_MNT_ID_UNIQUE, &own) == 0) {
		to->mount = own.stx_mask & (STATX_MNT_ID | STATX_MNT_ID_UNIQUE) ? mount_of(&own) : 0;
		to->mount_is_unique = (own.stx_mask & STATX_MNT_ID_UNIQUE) != 0;
	}
}

#include "subvolume.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define OPEN_DIRECTORY (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

static int64_t call(const char *directory, unsigned long request, void *arguments)
{
	int fd = open(directory, OPEN_DIRECTORY);
	if (fd < 0)
		return -errno;
	int64_t result = ioctl(fd, request, arguments) < 0 ? -errno : 0;
	close(fd);
	return result;
}

/* Of both requests that name a subvolume and nothing else. */
static int64_t call_by_name(const char *directory, unsigned long request, const char *name)
{
	struct btrfs_ioctl_vol_args arguments = { 0 };
	if (strlen(name) > BTRFS_PATH_NAME_MAX)
		return -ENAMETOOLONG;
	strcpy(arguments.name, name);
	return call(directory, request, &arguments);
}

int64_t subvolume_create(const char *directory, const char *name)
{
	return call_by_name(directory, BTRFS_IOC_SUBVOL_CREATE, name);
}

int64_t subvolume_remove(const char *directory, const char *name)
{
	return call_by_name(directory, BTRFS_IOC_SNAP_DESTROY, name);
}

int64_t subvolume_snapshot(const char *directory, const char *name, const char *source)
{
	struct btrfs_ioctl_vol_args_v2 arguments = { .fd = open(source, OPEN_DIRECTORY) };
	if (arguments.fd < 0)
		return -errno;
	int64_t result = -ENAMETOOLONG;
	if (strlen(name) <= BTRFS_SUBVOL_NAME_MAX) {
		strcpy(arguments.name, name);
		result = call(directory, BTRFS_IOC_SNAP_CREATE_V2, &arguments);
	}
	close((int)arguments.fd);
	return result;
}

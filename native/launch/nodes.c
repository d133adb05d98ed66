/* Directories, devices and symlinks in the root: made by descriptor of the directory that holds them. */
#include "sandbox.h"
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

int op_mkdir(struct sandbox *s, struct cursor c)
{
	uint32_t mode = take_u32(&c);
	char name[NAME_MAX + 1];
	int parent = find_parent(s, take_string(&c), name);
	if (parent < 0)
		return -1;
	int done = mkdirat(parent, name, mode);
	return done < 0 && errno != EEXIST ? -1 : 0;
}

int op_mknod(struct sandbox *s, struct cursor c)
{
	uint32_t mode = take_u32(&c), major_number = take_u32(&c), minor_number = take_u32(&c);
	char name[NAME_MAX + 1];
	int parent = find_parent(s, take_string(&c), name);
	if (parent < 0)
		return -1;
	int done = mknodat(parent, name, mode, makedev(major_number, minor_number));
	return done;
}

int op_symlink(struct sandbox *s, struct cursor c)
{
	const char *target = take_string(&c);
	char name[NAME_MAX + 1];
	int parent = find_parent(s, take_string(&c), name);
	if (parent < 0)
		return -1;
	int done = symlinkat(target, parent, name);
	return done < 0 && errno != EEXIST ? -1 : 0;
}

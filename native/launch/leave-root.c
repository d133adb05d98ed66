/*
 * From the host's root into the container's: by pivot_root, into a copy of an empty namespace (template.c), or by
 * chroot over the old root where pivot_root refuses. Nothing of the host's stays in reach, and the host loses nothing.
 */
#include "sandbox.h"
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Into a namespace that holds nothing yet. What lies below "/" then is below all that anybody can reach. */
static int move_in(struct sandbox *s)
{
	if (enter_copy_of_template(s->parent->template) < 0)
		return -1;
	for (int i = 0; i <= s->hidden_count; i++) {
		int mount = i < s->hidden_count ? s->hidden[i] : s->base;
		if (syscall(SYS_move_mount, mount, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
			return -1;
	}
	if (fchdir(s->root) < 0 || chroot(".") < 0)
		return -1;
	return close_others(s);
}

int op_pivot(struct sandbox *s)
{
	if (s->is_apart)
		return move_in(s);
	int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (old < 0 || fchdir(s->root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
		return -1;
	/*
	 * The old root lies on the new one now: pivot_root(2), NOTES.
	 * why: mounts in it may be peers of the host's, which would go with them.
	 */
	if (fchdir(old) < 0 || mount(NULL, ".", NULL, MS_SLAVE | MS_REC, NULL) < 0 || umount2(".", MNT_DETACH) < 0 ||
	    chdir("/") < 0)
		return -1;
	close(old);
	return close_others(s);
}

/* Octal escapes of mountinfo, in place. */
static void unescape(char *text)
{
	char *to = text;
	for (const char *from = text; *from; to++) {
		if (from[0] == '\\' && from[1] && from[2] && from[3]) {
			*to = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
			from += 4;
		} else
			*to = *from++;
	}
	*to = 0;
}

static int is_below(const char *path, const char *root)
{
	size_t length = strlen(root);
	return !strncmp(path, root, length) && (path[length] == '/' || path[length] == 0);
}

/*
 * why: the old root stays, covered; a proc or sysfs that lies open there would let a user namespace inside mount
 * one without our masks.
 */
static void hide_kernel_mounts(const struct sandbox *s)
{
	static char points[64][PATH_MAX];
	static char line[2 * PATH_MAX];
	int count = 0;
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	while (mounts && count < 64 && fgets(line, sizeof line, mounts)) {
		const char *type = strstr(line, " - ");
		if (!type || (strncmp(type, " - proc ", 8) && strncmp(type, " - sysfs ", 9)) ||
		    sscanf(line, "%*s %*s %*s %*s %4095s", points[count]) != 1)
			continue;
		unescape(points[count]);
		count += !is_below(points[count], s->point);
	}
	if (mounts)
		fclose(mounts);
	while (count-- > 0) {
		char *name = strrchr(points[count], '/');
		char first = name[1];
		/* why: what lies on a peer of a mount of the host goes from there as well. */
		name[1] = 0;
		int failed = make_private(points[count]) < 0;
		name[1] = first;
		if (failed || umount2(points[count], MNT_DETACH) < 0)
			mount("tmpfs", points[count], "tmpfs", 0, NULL);
	}
}

/* For a root that pivot_root refuses (the initramfs): it covers the old one. */
int op_chroot(struct sandbox *s)
{
	hide_kernel_mounts(s);
	if (fchdir(s->root) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0)
		return -1;
	return close_others(s);
}

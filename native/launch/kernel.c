/*
 * What the kernel is told about the container or its process.
 *
 * Files of procfs are reached through a procfs of our own that is mounted nowhere: whatever an image or a volume
 * puts over /proc, the write goes where it should (CVE-2019-16884, CVE-2025-52881).
 */
#include "../openat2.h"
#include "sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef PROC_SUPER_MAGIC
#define PROC_SUPER_MAGIC 0x9fa0
#endif

static int new_proc(void)
{
	int fs = (int)syscall(SYS_fsopen, "proc", FSOPEN_CLOEXEC);
	if (fs < 0)
		return -1;
	int failed = syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0;
	int mount = failed ? -1 : (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	int error = errno;
	close(fs);
	errno = error;
	return mount;
}

/* why: in a user namespace a new procfs is refused where the one at hand is partly hidden; then that one must do. */
static int present_proc(void)
{
	struct statfs fs;
	int fd = open("/proc", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC)
		return fd;
	errno = EPERM;
	return -1;
}

static int write_proc(struct sandbox *s, const char *path, const char *value)
{
	if (s->proc < 0)
		s->proc = new_proc();
	if (s->proc < 0 && errno == EPERM)
		s->proc = present_proc();
	if (s->proc < 0)
		return -1;
	struct open_how how = { .flags = O_WRONLY | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS };
	s->what = path;
	int fd = openat2_beneath(s->proc, path, &how);
	if (fd < 0)
		return -1;
	ssize_t n = write(fd, value, strlen(value));
	int error = errno;
	close(fd);
	errno = error;
	return n == (ssize_t)strlen(value) ? 0 : -1;
}

int op_oom(struct sandbox *s, struct cursor c)
{
	char text[16];
	snprintf(text, sizeof text, "%d", (int)take_u32(&c));
	return write_proc(s, "self/oom_score_adj", text);
}

int op_sysctl(struct sandbox *s, struct cursor c)
{
	static char path[512];
	const char *name = take_string(&c), *value = take_string(&c);
	if (strstr(name, "..") || snprintf(path, sizeof path, "sys/%s", name) >= (int)sizeof path) {
		errno = EINVAL;
		return -1;
	}
	return write_proc(s, path, value);
}

int op_label(struct sandbox *s, struct cursor c)
{
	static char path[128];
	const char *name = take_string(&c), *value = take_string(&c);
	if (strstr(name, "..") || snprintf(path, sizeof path, "thread-self/attr/%s", name) >= (int)sizeof path) {
		errno = EINVAL;
		return -1;
	}
	return write_proc(s, path, value);
}

/* A session keyring of the container's own; kernels without keyrings have nothing to hide. */
int op_keyring(struct cursor c)
{
	const int join_session = 1;
	long done = syscall(SYS_keyctl, join_session, take_string(&c), 0, 0, 0);
	return done < 0 && errno != ENOSYS ? -1 : 0;
}

/* As the kernel has it; its header cannot be included beside the C library's. */
struct scheduling {
	uint32_t size, sched_policy;
	uint64_t sched_flags;
	int32_t sched_nice;
	uint32_t sched_priority;
	uint64_t sched_runtime, sched_deadline, sched_period;
	uint32_t sched_util_min, sched_util_max;
};

int op_scheduler(struct cursor c)
{
	struct scheduling attr = { .size = sizeof attr };
	attr.sched_policy = take_u32(&c);
	attr.sched_nice = (int32_t)take_u32(&c);
	attr.sched_priority = take_u32(&c);
	take_u32(&c);
	attr.sched_flags = take_u64(&c);
	attr.sched_runtime = take_u64(&c);
	attr.sched_deadline = take_u64(&c);
	attr.sched_period = take_u64(&c);
	return (int)syscall(SYS_sched_setattr, 0, &attr, 0);
}

int op_ioprio(struct cursor c)
{
	const int who_process = 1;
	return (int)syscall(SYS_ioprio_set, who_process, 0, take_u32(&c));
}

/* Of this process, as the kernel has it now, all processors of the machine in one number. */
static void tell_affinity(int told)
{
	uint64_t mask[128] = { 0 };
	char text[16 * 128 + 1];
	size_t length = 0;
	long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
	size_t words = bytes > 0 ? (size_t)bytes / sizeof *mask : 0;
	while (words > 1 && !mask[words - 1])
		words--;
	for (size_t i = words; i-- > 0 && length < sizeof text;)
		length += (size_t)snprintf(text + length, sizeof text - length, i == words - 1 ? "%llx" : "%016llx", (unsigned long long)mask[i]);
	if (words > 0)
		tell(told, "nsexec[%d]: affinity: 0x%s", (int)getpid(), text);
}

int op_affinity(struct sandbox *s, const struct op *op)
{
	if ((int)syscall(SYS_sched_setaffinity, 0, op->length, op->payload) < 0)
		return -1;
	if (s->told >= 0)
		tell_affinity(s->told);
	return 0;
}

int op_mempolicy(const struct op *op)
{
	struct cursor c = cursor_of(op);
	uint32_t mode = take_u32(&c);
	take_u32(&c);
	const uint32_t bytes = op->length - 8;
	return (int)syscall(SYS_set_mempolicy, mode, bytes ? c.at : NULL, bytes ? 8ul * bytes + 1 : 0ul);
}

/*
 * tsbuild-launch: everything about a container that Node cannot do in its own process.
 *
 *   tsbuild-launch server     plans and reports as frames on fd 3, until it closes
 *   tsbuild-launch monitor N  one container that outlives its caller, see monitor.c; N is for people who look at ps
 *   tsbuild-launch run        one plan on fd 3, reports on fd 4, the caller's standard streams
 *   tsbuild-launch exec INPUT KEYS   the same for a further process in a container, which goes on without the caller
 *   tsbuild-launch create     the same, but ends as soon as the program runs or waits for its start
 *   tsbuild-launch net        a list of network operations on standard input, reports on standard output
 *   tsbuild-launch names NETNS CONFIG   the name service of a namespace, until standard input closes
 *   tsbuild-launch write-back DELAY   has the disk catch up, without the caller, see write-back.h
 */
#include "dns.h"
#include "frames.h"
#include "monitor.h"
#include "net.h"
#include "write-back.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

/* Whether nobody can write the file behind `self`: it is sealed, or the mount that it was reached by is read-only. */
static int is_sealed(int self)
{
	const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	struct statvfs fs;
	int has = fcntl(self, F_GET_SEALS);
	return (has >= 0 && (has & seals) == seals) || (fstatvfs(self, &fs) == 0 && fs.f_flag & ST_RDONLY);
}

/* A read-only mount of this program, mounted nowhere: as good as a copy, and all processes share its pages. */
static int open_readonly(int self)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID };
	int mount = (int)syscall(SYS_open_tree, self, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	if (mount < 0 || syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH, &attr, sizeof attr) < 0)
		return -1;
	return mount;
}

static int open_copy(int self)
{
	struct stat st;
	int copy = memfd_create("tsbuild-launch", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
	if (copy < 0 && errno == EINVAL)
		copy = memfd_create("tsbuild-launch", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (copy < 0 || fstat(self, &st) < 0)
		return -1;
	for (off_t at = 0; at < st.st_size;)
		if (sendfile(copy, self, &at, (size_t)(st.st_size - at)) <= 0)
			return -1;
	return fcntl(copy, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0 ? -1 : copy;
}

/*
 * Runs on from a form of this program that nobody can write: whoever gets hold of /proc/PID/exe of a starting
 * container finds nothing to overwrite (CVE-2019-5736).
 */
static void seal(char **argv, char **envp)
{
	int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (self >= 0 && is_sealed(self)) {
		close(self);
		return;
	}
	int sealed = self < 0 ? -1 : open_readonly(self);
	if (sealed >= 0)
		fexecve(sealed, argv, envp);
	sealed = self < 0 ? -1 : open_copy(self);
	if (sealed >= 0)
		fexecve(sealed, argv, envp);
	fprintf(stderr, "tsbuild-launch: cannot seal itself: %s\n", strerror(errno));
	_exit(125);
}

int main(int argc, char **argv, char **envp)
{
	const char *call = argc >= 2 ? argv[1] : "";
	if (strcmp(call, "net") == 0)
		return net_main(0, 1);
	if (argc == 4 && strcmp(argv[1], "names") == 0)
		return dns_main(argv[2], argv[3]);
	if (strcmp(call, "write-back") == 0)
		return write_back(3, argc > 2 ? atoi(argv[2]) : 0);
	int is_server = strcmp(call, "server") == 0;
	int is_create = strcmp(call, "create") == 0;
	int is_monitor = strcmp(call, "monitor") == 0;
	int is_exec = argc == 4 && strcmp(call, "exec") == 0;
	if (!is_server && !is_create && !is_monitor && !is_exec && strcmp(call, "run") != 0) {
		fprintf(stderr, "usage: tsbuild-launch server|run|exec|create|monitor|net|write-back  (started by tsbuild, not by hand)\n");
		return 2;
	}
	seal(argv, envp);
	for (int fd = 3; fd <= 4; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	signal(SIGPIPE, SIG_IGN);
	if (is_monitor)
		return monitor(3);
	if (is_create)
		return create_one(3, 4);
	if (is_exec)
		return exec_one(3, 4, argv[2], argv[3]);
	/* The caller's death must be ours, and so the containers'. */
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (!is_server)
		return run_one(3, 4);
	/* why: Ctrl-C reaches the whole process group; ending a build in order is the caller's decision. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	return serve(3);
}

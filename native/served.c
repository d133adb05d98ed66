#include "served.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where libfuse is told that the device is. */
#define DEVICE 3
#define MOUNTPOINT "/dev/fd/3"

static int set(int fs, const char *key, const char *value)
{
	return (int)syscall(SYS_fsconfig, fs, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, key, value, 0);
}

/* Everybody may look into it, by the rights that its files have. */
static int configure(int fs, int device)
{
	char number[16];
	snprintf(number, sizeof number, "%d", device);
	if (set(fs, "source", "fuse-overlayfs") < 0 || set(fs, "fd", number) < 0 || set(fs, "rootmode", "40000") < 0 ||
	    set(fs, "user_id", "0") < 0 || set(fs, "group_id", "0") < 0 || set(fs, "allow_other", NULL) < 0 ||
	    set(fs, "default_permissions", NULL) < 0)
		return -1;
	return (int)syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
}

/* In a child of a process that may have threads: system calls alone. */
static void execute(const char *program, const char *options, int device)
{
	const char *const argv[] = { program, "-f", "-o", options, MOUNTPOINT, NULL };
	static const char *const environment[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL };
	sigset_t none;
	sigemptyset(&none);
	/* why: neither may lie where the other one goes. */
	device = fcntl(device, F_DUPFD, DEVICE + 1);
	int nothing = open("/dev/null", O_RDWR), low = fcntl(nothing, F_DUPFD, DEVICE + 1);
	for (int i = 0; i < DEVICE; i++)
		if (dup2(low, i) < 0)
			return;
	if (dup2(device, DEVICE) < 0)
		return;
	syscall(SYS_close_range, DEVICE + 1, ~0U, 0);
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (chdir("/") == 0)
		execve(program, (char *const *)argv, (char *const *)environment);
}

/* why twice: nobody is its parent who could take its end for another's, or for a reason to wait. */
static int start(const char *program, const char *options, int device)
{
	pid_t pid = fork();
	if (pid == 0) {
		if (setsid() >= 0 && (pid = fork()) == 0)
			execute(program, options, device);
		_exit(pid > 0 ? 0 : 127);
	}
	int status = 0;
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	if (pid > 0 && status == 0)
		return 0;
	errno = pid > 0 ? EAGAIN : errno;
	return -1;
}

int served_mount(const char *program, const char *options, unsigned attributes)
{
	int device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	int fs = device < 0 ? -1 : (int)syscall(SYS_fsopen, "fuse", FSOPEN_CLOEXEC);
	int made = fs < 0 ? -1 : configure(fs, device);
	int mount = made < 0 ? -1 : (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes);
	int error = errno;
	if (mount >= 0 && start(program, options, device) < 0) {
		error = errno;
		close(mount);
		mount = -1;
	}
	if (fs >= 0)
		close(fs);
	if (device >= 0)
		close(device);
	errno = error;
	return mount;
}

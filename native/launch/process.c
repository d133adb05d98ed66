/* Operations on the process itself: terminal, limits, identity, filter, exec. */
#include "sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

/* A pty of the container's own devpts; the master goes home, the other end becomes the standard streams. */
int op_terminal(struct sandbox *s, struct cursor c)
{
	uint32_t uid = take_u32(&c), gid = take_u32(&c), rows = take_u32(&c), columns = take_u32(&c);
	int is_plain = take_u32(&c) == 1;
	int ptmx = open_in_root(s, "/dev/pts/ptmx", O_RDWR | O_NOCTTY);
	if (ptmx < 0)
		return -1;
	int unlock = 0;
	if (ioctl(ptmx, TIOCSPTLCK, &unlock) < 0)
		return -1;
	int peer = ioctl(ptmx, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (peer < 0 || fchown(peer, uid, gid) < 0)
		return -1;
	/* why here: once the master has gone home, the program may look before anybody there has set it. */
	if (s->plan->rows && s->plan->columns) {
		rows = s->plan->rows;
		columns = s->plan->columns;
	}
	struct winsize size = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns };
	if (rows && columns && ioctl(ptmx, TIOCSWINSZ, &size) < 0)
		return -1;
	struct termios modes;
	if (is_plain && (tcgetattr(ptmx, &modes) < 0 || (modes.c_oflag &= ~(tcflag_t)ONLCR, tcsetattr(ptmx, TCSANOW, &modes) < 0)))
		return -1;
	send_message(s, MESSAGE_TERMINAL, 0, "", ptmx);
	close(ptmx);
	if (ioctl(peer, TIOCSCTTY, 0) < 0)
		return -1;
	for (int i = 0; i < 3; i++)
		s->stdio[i] = peer;
	if (s->plan->start_flags & START_HERE)
		return 0;
	/* why: programs that log to the console (and tty(1)) expect it to be the same terminal. */
	char self[64];
	snprintf(self, sizeof self, "/proc/self/fd/%d", peer);
	int mount = (int)syscall(SYS_open_tree, AT_FDCWD, self, 1 /* OPEN_TREE_CLONE */ | O_CLOEXEC);
	int console = mount < 0 ? -1 : open_target(s, "/dev/console", 0);
	if (console >= 0)
		syscall(SYS_move_mount, mount, "", console, "", 0x44 /* F_EMPTY_PATH | T_EMPTY_PATH */);
	if (mount >= 0)
		close(mount);
	if (console >= 0)
		close(console);
	return 0;
}

int op_loopback(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int done = ioctl(fd, SIOCSIFFLAGS, &request);
	close(fd);
	return done;
}

/*
 * After pivot: "/" is the container's. Resolved there without magic links, since those of /proc lead to whatever
 * descriptor is open; and what came from elsewhere all the same has no path that begins with "/" (CVE-2024-21626).
 */
int op_cwd(struct sandbox *s, struct cursor c)
{
	static char path[4096];
	const char *wanted = take_string(&c);
	s->what = wanted;
	/* why: whoever enters a container does not change its files. */
	int fd = s->plan->start_flags & START_HERE ? open_in_root(s, wanted, O_PATH) : open_target(s, wanted, 1);
	if (fd < 0)
		return -1;
	int done = fchdir(fd);
	close(fd);
	if (done < 0 || !getcwd(path, sizeof path))
		return -1;
	if (path[0] != '/') {
		errno = EPERM;
		return -1;
	}
	return 0;
}

int op_rlimit(struct sandbox *s, struct cursor c)
{
	uint32_t resource = take_u32(&c), must = take_u32(&c);
	struct rlimit wanted = { .rlim_cur = take_u64(&c), .rlim_max = take_u64(&c) }, had;
	if (setrlimit((int)resource, &wanted) == 0)
		return 0;
	if (must || errno != EPERM || getrlimit((int)resource, &had) < 0)
		return -1;
	send_message(s, MESSAGE_WARNING, EPERM, "the hard limit cannot be raised here", -1);
	wanted.rlim_max = had.rlim_max;
	if (wanted.rlim_cur > had.rlim_max)
		wanted.rlim_cur = had.rlim_max;
	return setrlimit((int)resource, &wanted);
}

int op_credentials(struct cursor c)
{
	uint32_t uid = take_u32(&c), gid = take_u32(&c), count = take_u32(&c), keep_groups = take_u32(&c);
	uint64_t bounding = take_u64(&c), effective = take_u64(&c), permitted = take_u64(&c), inheritable = take_u64(&c);
	uint64_t ambient = take_u64(&c);
	for (int cap = 0; cap < 64; cap++)
		if (!(bounding >> cap & 1) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
			if (errno != EINVAL)
				return -1;
			/* The kernel has no more. */
			break;
		}
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	/* why: otherwise leaving uid 0 clears what shall be kept. */
	prctl(PR_SET_KEEPCAPS, (permitted | inheritable) != 0, 0, 0, 0);
	const gid_t *groups = (const gid_t *)(const void *)take_bytes(&c, 4 * count);
	/* why: the raw call, since gid_t lists in the plan are aligned and glibc's wrapper may allocate. */
	if ((!keep_groups && syscall(SYS_setgroups, (size_t)count, groups) < 0) || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return -1;
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {
		{ (uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable },
		{ (uint32_t)(effective >> 32), (uint32_t)(permitted >> 32), (uint32_t)(inheritable >> 32) },
	};
	if (syscall(SYS_capset, &header, data) < 0)
		return -1;
	prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
	/* why: changing the identity sets it to fs.suid_dumpable. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	for (int cap = 0; cap < 64; cap++)
		if (ambient >> cap & 1 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
			return -1;
	return 0;
}

int op_seccomp(struct sandbox *s, struct cursor c)
{
	uint32_t flags = take_u32(&c);
	take_u32(&c);
	/* why: the listener is the program's; what a hook asks of it has no answer (ENOSYS). */
	if (s->is_hook)
		flags &= ~(uint32_t)(SECCOMP_FILTER_FLAG_NEW_LISTENER | (1u << 5) /* WAIT_KILLABLE_RECV */);
	struct sock_fprog program = {
		.len = (unsigned short)((size_t)(c.end - c.at) / sizeof(struct sock_filter)),
		.filter = (struct sock_filter *)(uintptr_t)c.at,
	};
	tell(s->told, "seccomp filter flags: %u", flags);
	int done = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
	if (done < 0 || !(flags & SECCOMP_FILTER_FLAG_NEW_LISTENER))
		return done;
	int sent = send_listener(s, done);
	close(done);
	return sent;
}

static int has_program(struct sandbox *s)
{
	int saw_eacces = 0;
	struct stat st;
	for (char **candidate = s->plan->candidates; *candidate; candidate++) {
		if (stat(*candidate, &st) < 0)
			continue;
		if (S_ISREG(st.st_mode) && access(*candidate, X_OK) == 0)
			return 1;
		saw_eacces = 1;
	}
	errno = saw_eacces ? EACCES : ENOENT;
	return 0;
}

int op_exec_check(struct sandbox *s)
{
	s->what = s->plan->argv[0];
	return has_program(s) ? 0 : -1;
}

int take_stdio(struct sandbox *s)
{
	for (int i = 0; i < 3; i++) {
		if (s->stdio[i] >= 0 && dup2(s->stdio[i], i) < 0)
			return -1;
		s->stdio[i] = -1;
	}
	return 0;
}

struct cursor preserved(const struct plan *plan, uint32_t *first, uint32_t *count)
{
	struct cursor c = { 0 };
	*first = *count = 0;
	for (uint32_t i = 0; i < plan->count; i++) {
		if (plan->ops[i].code != OP_PRESERVE)
			continue;
		c = cursor_of(&plan->ops[i]);
		*first = take_u32(&c);
		*count = take_u32(&c);
	}
	return c;
}

int close_others(struct sandbox *s)
{
	uint32_t first, count;
	preserved(s->plan, &first, &count);
	const struct parent *p = s->parent;
	const int kept[] = { s->control, s->told, s->root, s->proc, p->start_socket, p->listener, s->stdio[0], s->stdio[1], s->stdio[2],
			     hook_stream(1), hook_stream(2) };
	for (unsigned from = 3;;) {
		unsigned next = count > 0 && first + count > from ? first : ~0u;
		unsigned end = next == ~0u ? next : first + count;
		for (unsigned i = 0; i < sizeof kept / sizeof *kept; i++)
			if (kept[i] >= (int)from && (unsigned)kept[i] < next) {
				next = (unsigned)kept[i];
				end = next + 1;
			}
		if (next > from && syscall(SYS_close_range, from, next == ~0u ? next : next - 1, 0u) < 0)
			return -1;
		if (next == ~0u)
			break;
		from = end;
	}
	s->dev_null = s->files = s->empty = s->parent_directory = -1;
	return 0;
}

/* Above everything that descriptors move from and to. */
static int above_all(struct cursor targets, uint32_t first, uint32_t count)
{
	uint32_t above = first + count;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t target = take_u32(&targets);
		if (target >= above)
			above = target + 1;
	}
	return (int)above;
}

/*
 * Moves the caller's descriptors to the numbers that they had, by way of numbers that nobody has, and closes all
 * others with exec. The one that errors still go to moves out of the way.
 */
static int preserve(struct sandbox *s)
{
	uint32_t first, count;
	struct cursor targets = preserved(s->plan, &first, &count), again = targets;
	const int base = above_all(targets, first, count);
	int moved[MAX_PRESERVED];
	if (count > 0 && (s->control = fcntl(s->control, F_DUPFD_CLOEXEC, base)) < 0)
		return -1;
	if (count > 0 && s->told >= 0 && (s->told = fcntl(s->told, F_DUPFD_CLOEXEC, base)) < 0)
		return -1;
	for (uint32_t i = 0; i < count; i++)
		if ((moved[i] = fcntl((int)(first + i), F_DUPFD_CLOEXEC, base)) < 0)
			return -1;
	for (uint32_t i = 0; i < count; i++)
		if (dup2(moved[i], (int)take_u32(&targets)) < 0)
			return -1;
	if (syscall(SYS_close_range, 3u, ~0u, 4u /* CLOSE_RANGE_CLOEXEC */) < 0)
		return -1;
	for (uint32_t i = 0; i < count; i++)
		if (fcntl((int)take_u32(&again), F_SETFD, 0) < 0)
			return -1;
	return 0;
}

/* What a program must not inherit: signals that we ignore, or whoever started us did. The 64th is bit 0. */
static uint64_t ignored;

void note_ignored_signals(void)
{
	static int is_noted;
	struct sigaction now;
	if (is_noted)
		return;
	is_noted = 1;
	for (int n = 1; n < 65; n++)
		if (sigaction(n, NULL, &now) == 0 && now.sa_handler == SIG_IGN)
			ignored |= 1ull << n % 64;
}

/* All that has to be done before exec, but for exec: a filter that comes next need not allow it. */
int op_ready(struct sandbox *s)
{
	tell(s->told, s->plan->start_flags & START_HERE ? "setns_init: about to exec" : "init: closing the pipe to signal completion");
	if (take_stdio(s) < 0)
		return -1;
	if (preserve(s) < 0)
		return -1;
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* A handler ends with exec anyway. */
	for (int n = 1; n < 65; n++)
		if (ignored >> n % 64 & 1)
			signal(n, SIG_DFL);
	return 0;
}

/* A program that is there and cannot be found all the same: it names an interpreter that is not. */
static const char *present(char **candidate)
{
	while (*candidate && access(*candidate, F_OK) < 0)
		candidate++;
	return *candidate ? *candidate : "";
}

/* Tries the candidates in turn, as execvp does: the last word is EACCES if any said so. */
int op_exec(struct sandbox *s)
{
	/* why: changing credentials cleared it. Where a filter forbids it, that filter's container has to do without. */
	if (!(s->plan->start_flags & START_SURVIVE))
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	int saw_eacces = 0;
	for (char **candidate = s->plan->candidates; *candidate; candidate++) {
		s->what = *candidate;
		execve(*candidate, s->plan->argv, s->plan->envp);
		if (errno == EACCES)
			saw_eacces = 1;
		else if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
			return -1;
	}
	s->what = saw_eacces ? "" : present(s->plan->candidates);
	errno = saw_eacces ? EACCES : ENOENT;
	return -1;
}

/*
 * Confinement: what a hostile tar or tree could make of a mistake in this program. Landlock (kernel
 * Documentation/userspace-api/landlock.rst) leaves only what lies beneath the given directories; a seccomp filter
 * takes away what no job needs. Where the kernel lacks one of them the other holds.
 */
#include "tree.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define OWN_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OWN_ARCH AUDIT_ARCH_AARCH64
#else
#error "another architecture: add its AUDIT_ARCH"
#endif

#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13)
#endif

/*
 * All rights of the second version of Landlock (Linux 5.19). The first allows no link or rename between directories
 * at all, so it is no use to us.
 */
static const uint64_t all_rights = (LANDLOCK_ACCESS_FS_REFER << 1) - 1;

static void restrict_files(int count)
{
	struct landlock_ruleset_attr attr = { .handled_access_fs = all_rights };
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 2)
		return;
	int rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
	if (rules < 0)
		fail(errno, "confining the tree");
	for (int fd = FIRST_FD; fd < FIRST_FD + count; fd++) {
		struct stat st;
		if (fstat(fd, &st) < 0 || !S_ISDIR(st.st_mode))
			continue;
		struct landlock_path_beneath_attr beneath = {
			.allowed_access = all_rights & ~(uint64_t)LANDLOCK_ACCESS_FS_EXECUTE,
			.parent_fd = fd,
		};
		if (syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) < 0)
			fail(errno, "confining the tree");
	}
	if (syscall(SYS_landlock_restrict_self, rules, 0) < 0)
		fail(errno, "confining the tree");
	close(rules);
}

#define REFUSE(name) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)

static void restrict_calls(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OWN_ARCH, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		REFUSE(execve),
		REFUSE(execveat),
		REFUSE(socket),
		REFUSE(connect),
		REFUSE(ptrace),
		REFUSE(process_vm_writev),
		REFUSE(mount),
		REFUSE(umount2),
		REFUSE(pivot_root),
		REFUSE(move_mount),
		REFUSE(open_tree),
		REFUSE(fsopen),
		REFUSE(setns),
		REFUSE(unshare),
		REFUSE(bpf),
		REFUSE(keyctl),
		REFUSE(kexec_load),
		REFUSE(init_module),
		REFUSE(finit_module),
		REFUSE(open_by_handle_at),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof filter / sizeof *filter, filter };
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

void confine(int count)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		fail(errno, "confining the tree");
	restrict_files(count);
	restrict_calls();
}

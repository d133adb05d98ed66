/* See device-filter.h. Spec: bpf(2); Documentation/admin-guide/cgroup-v2.rst, "Device controller". */
#include "device-filter.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int bpf(int command, union bpf_attr *attributes)
{
	/* why: EAGAIN is the verifier interrupted by a signal that is pending. */
	for (int attempt = 0;; attempt++) {
		int result = (int)syscall(SYS_bpf, command, attributes, sizeof *attributes);
		if (result >= 0 || errno != EAGAIN || attempt == 5)
			return result;
	}
}

static int load(const uint8_t *program, uint32_t size)
{
	union bpf_attr attributes;
	memset(&attributes, 0, sizeof attributes);
	attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attributes.insns = (uint64_t)(uintptr_t)program;
	attributes.insn_cnt = size / sizeof(struct bpf_insn);
	attributes.license = (uint64_t)(uintptr_t)"Apache-2.0";
	return bpf(BPF_PROG_LOAD, &attributes);
}

/* The only program attached to the cgroup itself; -1 where there is none, or more than one. */
static int attached(int cgroup)
{
	uint32_t ids[8];
	union bpf_attr attributes;
	memset(&attributes, 0, sizeof attributes);
	attributes.query.target_fd = (uint32_t)cgroup;
	attributes.query.attach_type = BPF_CGROUP_DEVICE;
	attributes.query.prog_ids = (uint64_t)(uintptr_t)ids;
	attributes.query.prog_cnt = sizeof ids / sizeof *ids;
	if (bpf(BPF_PROG_QUERY, &attributes) < 0 || attributes.query.prog_cnt != 1)
		return -1;
	memset(&attributes, 0, sizeof attributes);
	attributes.prog_id = ids[0];
	return bpf(BPF_PROG_GET_FD_BY_ID, &attributes);
}

static int attach(int cgroup, int program, int old)
{
	union bpf_attr attributes;
	memset(&attributes, 0, sizeof attributes);
	attributes.target_fd = (uint32_t)cgroup;
	attributes.attach_bpf_fd = (uint32_t)program;
	attributes.attach_type = BPF_CGROUP_DEVICE;
	attributes.attach_flags = BPF_F_ALLOW_MULTI | (old >= 0 ? BPF_F_REPLACE : 0);
	attributes.replace_bpf_fd = old >= 0 ? (uint32_t)old : 0;
	return bpf(BPF_PROG_ATTACH, &attributes);
}

int attach_device_filter(const char *directory, const uint8_t *program, uint32_t size)
{
	int cgroup = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (cgroup < 0)
		return -errno;
	int loaded = load(program, size), error = loaded < 0 ? -errno : 0;
	if (loaded >= 0) {
		int old = attached(cgroup);
		error = attach(cgroup, loaded, old) < 0 ? -errno : 0;
		close(loaded);
		if (old >= 0)
			close(old);
	}
	close(cgroup);
	return error;
}

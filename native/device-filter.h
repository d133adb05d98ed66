/* Device control of cgroup v2: a program that the kernel asks before mknod and open. Shared with libtsbsys. */
#ifndef TSB_DEVICE_FILTER_H
#define TSB_DEVICE_FILTER_H
#include <stdint.h>

/*
 * Loads a BPF_PROG_TYPE_CGROUP_DEVICE program (`size` bytes of struct bpf_insn) and attaches it to the cgroup in
 * place of the one that is there. 0 or -errno. Programs of the levels above go on being asked.
 */
int attach_device_filter(const char *directory, const uint8_t *program, uint32_t size);

#endif

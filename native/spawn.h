/* Starting programs from Node, for libtsbsys. */
#ifndef TSB_SPAWN_H
#define TSB_SPAWN_H
#include <stdint.h>

/* Entries of `fds`: a descriptor of ours, or one of these. */
enum { NULL_DEVICE = -1, SOCKET = -2, INPUT = -3 };

struct program {
	const char *path;
	char *arguments, *environment; /* NUL-terminated strings, one after the other */
	uint32_t arguments_count, environment_count;
	const int32_t *fds; /* what its descriptors from 0 on are */
	uint32_t fds_count;
	const char *directory; /* "": the caller's */
};

/* Our ends of sockets, which no other process has and the caller owns; -1 where `fds` has none of the kind. */
struct sockets {
	int32_t socket, input;
};

/* Starts it with the usual meaning of all signals and no other descriptors. The pid, which the caller waits for, or -errno. */
int64_t spawn_program(const struct program *program, struct sockets *ours);

#endif

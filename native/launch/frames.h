/* Frames between Node and the launcher: u32 payload length, u32 type, u32 container id, payload. */
#ifndef TSB_FRAMES_H
#define TSB_FRAMES_H
#include "sandbox.h"
#include <stddef.h>
#include <stdint.h>

enum frame_type {
	FRAME_START = 1, /* a plan */
	FRAME_KILL = 2,  /* u32 signal */
	FRAME_NAMES = 4, /* strings: namespace, configuration (dns.h); answered as FRAME_NET */
	FRAME_NET = 3,   /* a list of network operations; answered by FRAME_NET_DONE or FRAME_ERROR */
	FRAME_STARTED = 10, /* u32 pid */
	FRAME_STDOUT = 11,
	FRAME_STDERR = 12,
	FRAME_EXIT = 13,    /* u32 kind (0 exited, 1 signaled), u32 value */
	FRAME_ERROR = 14,   /* u32 op, u32 errno, text: the program was not started */
	FRAME_WARNING = 15, /* u32 op, u32 errno, text */
	FRAME_TOLD = 18,    /* text: an event of the start, with START_TELLS */
	FRAME_LEFT = 17,    /* id: enum left; the process goes on */
	FRAME_NET_DONE = 16, /* i32 descriptor of the network namespace, the server's as long as it lives; -1: none */
};

/* Why a process is left: the user typed the keys for it, or nobody reads its terminal any more. */
enum left { LEFT_BY_KEYS, LEFT_UNREAD };

struct frame {
	uint32_t length, type, id;
};

/* Blocking; -1 where the other side is gone. */
int send_frame(int fd, uint32_t type, uint32_t id, const void *payload, uint32_t length);
int send_exit(int fd, uint32_t id, int wait_status);
int send_problem(int fd, uint32_t type, uint32_t id, uint32_t op, uint32_t error, const char *text);
/* Reads exactly `size` bytes; 0 at the end of the stream, -1 on error, else 1. */
int read_all(int fd, void *buffer, size_t size);
/* A message of a starting container; 0 at the end (the program runs). *fd is a terminal's master, or -1. */
int receive_message(int control, struct message *message, int *fd);

/* All of a pipe, at most PLAN_MAX_BYTES and one; NULL where there is no memory. The caller frees. */
uint8_t *read_plan(int fd, size_t *size);

int serve(int fd);
int run_one(int plan_fd, int status_fd);
/* A further process in a container: outlives us and the caller. `input`: "input" or "none"; `keys`: see keys_read. */
int exec_one(int plan_fd, int status_fd, const char *input, const char *keys);
int create_one(int plan_fd, int status_fd);
/*
 * Reads the plan, starts it and reports to status_fd: problems, or FRAME_STARTED with the pid that is returned; -1
 * where nothing was left running. A terminal that has no OP_CONSOLE goes to *master, `on_terminal` is told.
 */
pid_t begin(int plan_fd, int status_fd, void (*on_terminal)(int), int *master);

#endif

/*
 * Whoever talks to a monitor: the tsbuild that started it (a socket pair) and those that came through ctl.sock.
 * Frames as in frames.h, with id 0. Sockets never block the monitor: what a client does not read is kept, at most
 * one piece of output more than it has read, and while anything is kept the container's output is not read.
 */
#ifndef TSB_CLIENTS_H
#define TSB_CLIENTS_H
#include "frames.h"

#define MAX_CLIENTS 32
/* Of a frame from a client. */
#define MAX_CLIENT_FRAME 65536

enum client_frame {
	FRAME_SETTINGS = 30,
	FRAME_HEALTH = 31,
	FRAME_ATTACH = 32,  /* u32 ATTACH_* */
	FRAME_STDIN = 33,   /* bytes; none: the end. Answered by FRAME_TAKEN when the container has taken them */
	FRAME_RESIZE = 34,  /* u32 rows, u32 columns */
	FRAME_STOP = 35,    /* u32 signal (0: the container's own), i32 timeout in seconds (-1 for ever, -2 its own) */
	FRAME_PAUSED = 36,  /* u32: whether it is frozen now */
	FRAME_POLICY = 37,  /* u32 restart policy, u32 maximum of retries */
	FRAME_PORTS = 38,   /* what is published (ports.h), before the start; afterwards empty: nothing any more */
	FRAME_CLEANED = 39, /* what ATTACH_CLEANS promised is done */
	/* to a client */
	FRAME_TAKEN = 40,
	FRAME_DONE = 41,  /* u32 errno: the answer to FRAME_KILL, ATTACH, PAUSED, POLICY and PORTS, in their order */
	FRAME_ENDED = 42, /* u32 exit code, u32 oom killed, u32 final: whether it will not be restarted */
};

enum { ATTACH_STDIN = 1, ATTACH_STDOUT = 2, ATTACH_STDERR = 4, ATTACH_CLEANS = 8 };

struct client {
	int fd; /* -1: free */
	uint32_t attached;
	struct frame head;
	size_t received; /* bytes of head and payload */
	uint8_t *payload;
	uint8_t *kept; /* not yet sent */
	size_t kept_size;
	/* A piece of input that the container has not taken yet. */
	uint8_t *input;
	size_t input_size, input_taken;
};

/* What a monitor does with what clients say. */
struct client_handler {
	void (*frame)(struct client *client, uint32_t type, const uint8_t *payload, uint32_t size);
	/* The client is gone after this. */
	void (*gone)(struct client *client);
	/* Nothing is kept for any client any more. */
	void (*relieved)(void);
};

/* Takes the descriptor over; NULL where there are too many (it is closed then). */
struct client *client_add(int fd, const struct client_handler *handler);
void client_drop(struct client *client);
/* Sends, or keeps. A client that has left is dropped at its next turn in the loop. */
void client_send(struct client *client, uint32_t type, const void *payload, uint32_t size);
/* To all with any of these bits in `attached`; 0: to all. */
void clients_send(uint32_t attached, uint32_t type, const void *payload, uint32_t size);
/* Whether anything is kept for anybody. */
int clients_are_behind(void);
/* The next client with `predicate` bits in `attached` from `after` (NULL: the first); NULL: no more. */
struct client *clients_next(const struct client *after, uint32_t attached);

/* Listens at `ctl.sock` in the directory, for this user and root alone; -1 with errno. */
int clients_listen(int directory, const struct client_handler *handler);
void clients_stop_listening(int directory);

#endif

/* Passing bytes and datagrams between those who come to a published port and its container. Nothing here ever waits. */
#ifndef TSB_RELAY_H
#define TSB_RELAY_H
#include "ports.h"

/* Connections, and peers of datagram ports, at a time; more are turned away, or take the place of the oldest. */
#define MAX_RELAYED 256
/* A peer that has said nothing for so long is forgotten when a new one comes (ms). */
#define DATAGRAM_IDLE 90000

/* Whatever waits in the epoll instance begins with this. */
struct source {
	void (*ready)(struct source *self, uint32_t events);
	int fd;
	uint32_t wanted; /* EPOLL* that it is registered with; 0: not */
};

/* A socket of a published port, never closed while something of it is relayed. */
struct listener {
	struct source source;
	struct port_address to;
};

/* Creates the epoll instance, where there is none, and has it watched; 0, or -1 with errno. */
int relay_begin(void);
/* Changes what is waited for; to be called with 0 before the descriptor is closed. */
int relay_want(struct source *source, uint32_t events);

/* Both for `source.ready` of a listener. */
void connections_ready(struct source *self, uint32_t events);
void datagrams_ready(struct source *self, uint32_t events);
/* Ends whatever is relayed. */
void connections_end(void);
void datagrams_end(void);

#endif

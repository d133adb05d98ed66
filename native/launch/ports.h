/*
 * Published ports that a container's monitor holds open, so that nobody else takes them unnoticed. What the rules of the
 * network rewrite never arrives here. What does (the host's ::1, an IPv6 address of the host where the container has
 * none, everything where somebody flushed the rules) is relayed.
 */
#ifndef TSB_PORTS_H
#define TSB_PORTS_H
#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

#define MAX_PORTS 65536
#define PORT_TEXT 72

struct port_address {
	socklen_t size;
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	};
};

struct published {
	uint32_t protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	struct port_address from, to;
};

/*
 * The payload of FRAME_PORTS: u32 number of ports; of each u32 protocol, then twice u32 family, address (16 bytes, the
 * rest zero) and u32 port. The n-th of them; the list must have passed ports_check. -1: it has not, with EINVAL.
 */
int ports_check(const uint8_t *bytes, uint32_t size, uint32_t *count);
struct published ports_at(const uint8_t *bytes, uint32_t index);

/* Opens all, or none and returns -1 with errno and, in `text`, which one failed. */
int ports_open(const uint8_t *bytes, uint32_t size, char text[PORT_TEXT]);
/* Gives them back; what is relayed ends. */
void ports_close(void);

#endif

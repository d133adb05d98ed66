/* Netlink requests: built in place, sent, and their acknowledgement awaited. Everything returns 0, or -1 with errno. */
#ifndef TSB_NETLINK_H
#define TSB_NETLINK_H
#include <stddef.h>
#include <stdint.h>

#define REQUEST_MAX 2048

struct request {
	_Alignas(8) uint8_t bytes[REQUEST_MAX];
	size_t size;
	int full; /* something did not fit: request_send fails with EMSGSIZE */
};

/* A socket in the caller's current network namespace; later namespaces of the caller do not matter to it. */
int netlink_open(int protocol);

/* A request (NLM_F_REQUEST and NLM_F_ACK are added) that begins with the family's own header. */
void request_begin(struct request *r, uint16_t type, uint16_t flags, const void *head, size_t size);
void put_bytes(struct request *r, uint16_t type, const void *value, size_t size);
void put_u8(struct request *r, uint16_t type, uint8_t value);
void put_u16(struct request *r, uint16_t type, uint16_t value);
void put_u32(struct request *r, uint16_t type, uint32_t value);
void put_string(struct request *r, uint16_t type, const char *value);
/* What is put until the matching nest_end lies inside; returns what nest_end wants. */
size_t nest_begin(struct request *r, uint16_t type);
void nest_raw(struct request *r, const void *head, size_t size);
void nest_end(struct request *r, size_t at);
int request_send(int fd, struct request *r);

/*
 * Sends messages that are complete already (a batch of nf_tables) and reads what is answered at once: the kernel
 * has done everything when sendmsg returns. -1 with the first error.
 */
int netlink_send(int fd, const void *bytes, size_t size);
/* Sends one dump request; `each` gets every datagram of the answer. Its -1 ends the dump. */
int netlink_dump(int fd, const void *bytes, size_t size, int (*each)(void *context, const void *bytes, size_t size),
		 void *context);

/* Index of an interface in the socket's namespace; 0 with errno. */
uint32_t interface_index(int fd, const char *name);

#endif

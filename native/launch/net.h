/*
 * Networks of containers: a bounded list of operations on network namespaces, interfaces, addresses, routes and
 * rules, decided in TypeScript (native/net-plan.ts) and done one after the other by one process.
 *
 * header   u32 magic "TSBN", u16 version, u16 reserved, u32 total bytes, u32 number of operations
 * op       u16 code, u16 tolerated errno, u32 payload length, payload, padding to 8
 *
 * Where an operation has a `side`, 0 is the namespace of the caller (the host's), 1 the one that NET_CREATE or
 * NET_OPEN named last. An operation that fails with its tolerated errno counts as done.
 */
#ifndef TSB_NET_H
#define TSB_NET_H
#include "plan.h"

#define NET_MAGIC 0x4e425354u
#define NET_VERSION 1
#define NET_MAX_OPS 4096

enum net_code {
	NET_CREATE = 1,  /* string path: a new namespace, pinned there; "": held by this process */
	NET_OPEN = 2,    /* string path */
	NET_REMOVE = 3,  /* string path: unpinned; it goes with its last process */
	NET_BRIDGE = 4,  /* u32 mtu; mac[8]; strings name, alias: made where it is missing */
	NET_VETH = 5,    /* u32 mtu, flags; mac[8]; strings host's name, bridge, name inside */
	NET_SLAVE = 6,   /* u32 kind (0 macvlan, 1 ipvlan), mode, mtu; mac[8]; strings parent, name inside */
	NET_VXLAN = 7,   /* u32 vni, port, mtu, family; local[16], group[16]; strings name, bridge, device, alias */
	NET_FORWARD = 8, /* u32 family; address[16]; string name: where a vxlan sends what has no known place */
	NET_DELETE = 9,  /* u32 side; string name */
	NET_UP = 10,     /* u32 side; string name */
	NET_ADDRESS = 11, /* u32 side, family, prefix; address[16]; string name */
	NET_ROUTE = 12,  /* u32 side, family, prefix; destination[16], gateway[16]; string name */
	NET_SYSCTL = 13, /* u32 side; strings key (below /proc/sys/net), value */
	NET_SEND = 14,   /* u32 side, protocol, size; messages */
	NET_DOWN = 16,   /* u32 side; string name */
	NET_DUMP = 15,   /* u32 side, protocol, size; one request: the answer becomes frames */
};

/* Of a port of a bridge: it reaches no other isolated one; what it sends may come back to it (its own published port). */
enum { PORT_ISOLATED = 1, PORT_HAIRPIN = 2 };

enum net_side { NET_HOST, NET_INSIDE, NET_SIDES };
enum net_socket { NET_SOCKET_ROUTE, NET_SOCKET_NETFILTER, NET_SOCKETS };

struct net {
	int spaces[NET_SIDES]; /* namespace descriptors, -1: none yet */
	int sockets[NET_SIDES][NET_SOCKETS];
	uint32_t op;
	const char *what;
	int (*report)(void *context, uint32_t op, const void *bytes, size_t size);
	void *context;
};

/*
 * Does a list. `report` hears the datagrams of dumps. 0, with *held the namespace of the list's last NET_CREATE or
 * NET_OPEN (the caller closes it; -1: none); or -1 with errno, *bad_op and `text`. What was done before an error
 * stays done: undoing it is the caller's decision.
 */
int net_execute(const uint8_t *bytes, size_t size, int *held, uint32_t *bad_op, char text[244],
		int (*report)(void *, uint32_t, const void *, size_t), void *context);
/* One list on fd `in`, frames on fd `out`: the `net` call. */
int net_main(int in, int out);

/*
 * net-list.c. Checks a whole list: 0 with its first operation and their number, or -1 with EINVAL and *bad_op: a
 * malformed list does nothing.
 */
int net_check(const uint8_t *bytes, size_t size, struct cursor *first, uint32_t *count, uint32_t *bad_op);
/* The next operation of a checked list. */
struct op net_next(struct cursor *body, uint32_t *tolerated);

/* netns.c */
int netns_create(struct net *n, const char *path);
int netns_open(struct net *n, const char *path);
int netns_remove(struct net *n, const char *path);
/* Moves the calling process; every call of it is undone before the next operation. */
int netns_enter(const struct net *n, enum net_side side);
/* A socket of that protocol in that namespace, kept for the next time. */
int net_socket(struct net *n, uint32_t side, enum net_socket kind);

/* links.c: one operation each; 0, or -1 with errno and n->what */
int net_bridge(struct net *n, struct cursor c);
int net_veth(struct net *n, struct cursor c);
int net_slave(struct net *n, struct cursor c);
int net_vxlan(struct net *n, struct cursor c);
int net_forward(struct net *n, struct cursor c);
int net_delete(struct net *n, struct cursor c);
int net_set_up(struct net *n, struct cursor c, int up);

#endif

/* Reading and doing a list of network operations. See net.h. */
#include "net.h"
#include "frames.h"
#include "netlink.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int net_address(struct net *n, struct cursor c)
{
	uint32_t side = take_u32(&c), family = take_u32(&c), prefix = take_u32(&c);
	const uint8_t *address = take_bytes(&c, 16);
	n->what = take_string(&c);
	int fd = net_socket(n, side, NET_SOCKET_ROUTE);
	struct request r;
	/* why no duplicate address detection: the address was leased, and must be usable when the program starts. */
	struct ifaddrmsg head = { .ifa_family = (uint8_t)family, .ifa_prefixlen = (uint8_t)prefix,
				  .ifa_flags = family == AF_INET6 ? IFA_F_NODAD : 0 };
	if (fd < 0 || !(head.ifa_index = interface_index(fd, n->what)))
		return -1;
	size_t size = family == AF_INET ? 4 : 16;
	request_begin(&r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &head, sizeof head);
	put_bytes(&r, IFA_LOCAL, address, size);
	put_bytes(&r, IFA_ADDRESS, address, size);
	if (family == AF_INET && prefix < 31) {
		uint8_t broadcast[4];
		for (uint32_t i = 0; i < 4; i++) {
			uint32_t fixed = prefix > 8 * i ? prefix - 8 * i : 0;
			broadcast[i] = (uint8_t)(address[i] | (fixed >= 8 ? 0 : 0xff >> fixed));
		}
		put_bytes(&r, IFA_BROADCAST, broadcast, 4);
	}
	return request_send(fd, &r);
}

static int net_route(struct net *n, struct cursor c)
{
	uint32_t side = take_u32(&c), family = take_u32(&c), prefix = take_u32(&c);
	const uint8_t *destination = take_bytes(&c, 16), *gateway = take_bytes(&c, 16);
	n->what = take_string(&c);
	int fd = net_socket(n, side, NET_SOCKET_ROUTE);
	struct request r;
	struct rtmsg head = { .rtm_family = (uint8_t)family, .rtm_dst_len = (uint8_t)prefix, .rtm_table = RT_TABLE_MAIN,
			      .rtm_protocol = RTPROT_STATIC, .rtm_scope = RT_SCOPE_UNIVERSE, .rtm_type = RTN_UNICAST };
	uint32_t index = fd < 0 ? 0 : interface_index(fd, n->what);
	if (!index)
		return -1;
	size_t size = family == AF_INET ? 4 : 16;
	static const uint8_t none[16];
	request_begin(&r, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &head, sizeof head);
	if (prefix)
		put_bytes(&r, RTA_DST, destination, size);
	if (memcmp(gateway, none, sizeof none))
		put_bytes(&r, RTA_GATEWAY, gateway, size);
	put_u32(&r, RTA_OIF, index);
	return request_send(fd, &r);
}

static int write_sysctl(const char *key, const char *value)
{
	char path[256];
	if (strstr(key, "..") || snprintf(path, sizeof path, "/proc/sys/net/%s", key) >= (int)sizeof path) {
		errno = EINVAL;
		return -1;
	}
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -1;
	ssize_t n = write(fd, value, strlen(value));
	int error = errno;
	close(fd);
	errno = error;
	return n < 0 ? -1 : 0;
}

static int net_sysctl(struct net *n, struct cursor c)
{
	uint32_t side = take_u32(&c);
	n->what = take_string(&c);
	const char *value = take_string(&c);
	if (side >= NET_SIDES) {
		errno = EINVAL;
		return -1;
	}
	if (side != NET_HOST && netns_enter(n, side) < 0)
		return -1;
	int result = write_sysctl(n->what, value), error = errno;
	if (side != NET_HOST && netns_enter(n, NET_HOST) < 0)
		return -1;
	errno = error;
	return result;
}

static int report(void *context, const void *bytes, size_t size)
{
	struct net *n = context;
	return n->report ? n->report(n->context, n->op, bytes, size) : 0;
}

static int net_messages(struct net *n, struct cursor c, int is_dump)
{
	uint32_t side = take_u32(&c), protocol = take_u32(&c), size = take_u32(&c);
	const uint8_t *bytes = take_bytes(&c, size);
	int fd = net_socket(n, side, protocol == NETLINK_ROUTE ? NET_SOCKET_ROUTE : NET_SOCKET_NETFILTER);
	n->what = "messages";
	if (fd < 0)
		return -1;
	return is_dump ? netlink_dump(fd, bytes, size, report, n) : netlink_send(fd, bytes, size);
}

static int execute(struct net *n, const struct op *op)
{
	struct cursor c = cursor_of(op);
	n->what = "";
	switch (op->code) {
	case NET_CREATE:
	case NET_OPEN:
	case NET_REMOVE:
		n->what = take_string(&c);
		return op->code == NET_CREATE ? netns_create(n, n->what) :
		       op->code == NET_OPEN   ? netns_open(n, n->what) :
						netns_remove(n, n->what);
	case NET_BRIDGE:
		return net_bridge(n, c);
	case NET_VETH:
		return net_veth(n, c);
	case NET_SLAVE:
		return net_slave(n, c);
	case NET_VXLAN:
		return net_vxlan(n, c);
	case NET_FORWARD:
		return net_forward(n, c);
	case NET_DELETE:
		return net_delete(n, c);
	case NET_UP:
	case NET_DOWN:
		return net_set_up(n, c, op->code == NET_UP);
	case NET_ADDRESS:
		return net_address(n, c);
	case NET_ROUTE:
		return net_route(n, c);
	case NET_SYSCTL:
		return net_sysctl(n, c);
	case NET_SEND:
	case NET_DUMP:
		return net_messages(n, c, op->code == NET_DUMP);
	}
	errno = EINVAL;
	return -1;
}

/* Every operation of a list that was checked; n->op is the one that failed. */
static int execute_all(struct net *n, struct cursor body, uint32_t count)
{
	for (n->op = 0; n->op < count; n->op++) {
		uint32_t tolerated;
		struct op op = net_next(&body, &tolerated);
		if (execute(n, &op) < 0 && errno != (int)tolerated)
			return -1;
	}
	return 0;
}

static void close_all(struct net *n, int *held)
{
	int error = errno;
	*held = n->spaces[NET_INSIDE];
	for (int side = 0; side < NET_SIDES; side++)
		for (int kind = 0; kind < NET_SOCKETS; kind++)
			if (n->sockets[side][kind] >= 0)
				close(n->sockets[side][kind]);
	if (n->spaces[NET_HOST] >= 0)
		close(n->spaces[NET_HOST]);
	errno = error;
}

int net_execute(const uint8_t *bytes, size_t size, int *held, uint32_t *bad_op, char text[244],
		int (*hear)(void *, uint32_t, const void *, size_t), void *context)
{
	struct net n = { .spaces = { -1, -1 }, .sockets = { { -1, -1 }, { -1, -1 } }, .report = hear, .context = context };
	struct cursor c;
	uint32_t count;
	*held = -1;
	n.what = "reading the list";
	int result = net_check(bytes, size, &c, &count, &n.op);
	if (result == 0) {
		n.spaces[NET_HOST] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
		result = n.spaces[NET_HOST] < 0 ? -1 : execute_all(&n, c, count);
	}
	int error = errno;
	*bad_op = n.op;
	snprintf(text, 244, "%s", n.what);
	close_all(&n, held);
	if (result < 0 && *held >= 0) {
		close(*held);
		*held = -1;
	}
	errno = error;
	return result;
}

static int send_answer(void *context, uint32_t op, const void *bytes, size_t size)
{
	return send_frame(*(int *)context, FRAME_STDOUT, op, bytes, (uint32_t)size);
}

int net_main(int in, int out)
{
	size_t size;
	uint8_t *bytes = read_plan(in, &size);
	uint32_t bad = 0;
	int held = -1;
	char text[244] = "";
	if (!bytes || net_execute(bytes, size, &held, &bad, text, send_answer, &out) < 0) {
		send_problem(out, FRAME_ERROR, 0, bad, (uint32_t)errno, text);
		return 1;
	}
	free(bytes);
	return 0;
}

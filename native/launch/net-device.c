/*
 * Network devices of the host's that a container gets: moved into its network namespace under another name, with the
 * addresses that they had. rtnetlink(7).
 */
#include "netlink.h"
#include "sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_ADDRESSES 64
/* What an address says of itself; the rest is its state. */
#define OWN_FLAGS (IFA_F_NODAD | IFA_F_NOPREFIXROUTE | IFA_F_HOMEADDRESS | IFA_F_MCAUTOJOIN)

/* Requests that give a device its addresses again. */
struct addresses {
	uint32_t index; /* of the device that they are of */
	int count;
	struct request requests[MAX_ADDRESSES];
};

static const struct rtattr *find_attribute(const struct ifaddrmsg *address, size_t size, uint16_t type)
{
	const struct rtattr *at = IFA_RTA(address);
	for (size_t left = size; RTA_OK(at, left); at = RTA_NEXT(at, left))
		if (at->rta_type == type)
			return at;
	return NULL;
}

static uint32_t flags_of(const struct ifaddrmsg *address, size_t size)
{
	const struct rtattr *flags = find_attribute(address, size, IFA_FLAGS);
	uint32_t value = address->ifa_flags;
	if (flags && RTA_PAYLOAD(flags) >= sizeof value)
		memcpy(&value, RTA_DATA(flags), sizeof value);
	return value;
}

/* Only those that somebody has given it, and that are known everywhere: others come by themselves. */
static int keep(struct addresses *a, const struct ifaddrmsg *address, size_t size)
{
	static const uint16_t same[] = { IFA_LOCAL, IFA_ADDRESS, IFA_BROADCAST, IFA_RT_PRIORITY };
	uint32_t flags = flags_of(address, size);
	if (address->ifa_index != a->index || address->ifa_scope != RT_SCOPE_UNIVERSE || !(flags & IFA_F_PERMANENT))
		return 0;
	if (a->count == MAX_ADDRESSES) {
		errno = E2BIG;
		return -1;
	}
	struct request *r = &a->requests[a->count++];
	struct ifaddrmsg head = { .ifa_family = address->ifa_family, .ifa_prefixlen = address->ifa_prefixlen, .ifa_scope = address->ifa_scope };
	request_begin(r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &head, sizeof head);
	for (unsigned i = 0; i < sizeof same / sizeof *same; i++) {
		const struct rtattr *attribute = find_attribute(address, size, same[i]);
		if (attribute)
			put_bytes(r, same[i], RTA_DATA(attribute), RTA_PAYLOAD(attribute));
	}
	put_u32(r, IFA_FLAGS, flags & OWN_FLAGS);
	return 0;
}

static int keep_each(void *context, const void *bytes, size_t size)
{
	const struct nlmsghdr *header = bytes;
	for (uint32_t left = (uint32_t)size; NLMSG_OK(header, left); header = NLMSG_NEXT(header, left))
		if (header->nlmsg_type == RTM_NEWADDR && header->nlmsg_len >= NLMSG_LENGTH(sizeof(struct ifaddrmsg)) &&
		    keep(context, NLMSG_DATA(header), IFA_PAYLOAD(header)) < 0)
			return -1;
	return 0;
}

static int read_addresses(int fd, struct addresses *a)
{
	struct {
		struct nlmsghdr header;
		struct ifaddrmsg body;
	} dump = {
		.header = { .nlmsg_len = sizeof dump, .nlmsg_type = RTM_GETADDR, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.body = { .ifa_family = AF_UNSPEC },
	};
	return netlink_dump(fd, &dump, sizeof dump, keep_each, a);
}

static int move(int fd, uint32_t index, int namespace, const char *name)
{
	struct request r;
	struct ifinfomsg head = { .ifi_index = (int)index };
	request_begin(&r, RTM_NEWLINK, 0, &head, sizeof head);
	put_u32(&r, IFLA_NET_NS_FD, (uint32_t)namespace);
	put_string(&r, IFLA_IFNAME, name);
	return request_send(fd, &r);
}

static int set_up(int fd, const char *name, struct addresses *a)
{
	uint32_t index = interface_index(fd, name);
	struct request r;
	struct ifinfomsg head = { .ifi_index = (int)index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	if (!index)
		return -1;
	for (int i = 0; i < a->count; i++) {
		((struct ifaddrmsg *)(void *)(a->requests[i].bytes + NLMSG_HDRLEN))->ifa_index = index;
		if (request_send(fd, &a->requests[i]) < 0)
			return -1;
	}
	request_begin(&r, RTM_NEWLINK, 0, &head, sizeof head);
	return request_send(fd, &r);
}

/* A socket there; this process stays where it is. */
static int open_inside(int namespace, int own)
{
	if (setns(namespace, CLONE_NEWNET) < 0)
		return -1;
	int fd = netlink_open(NETLINK_ROUTE);
	int error = errno;
	if (setns(own, CLONE_NEWNET) < 0)
		_exit(127);
	errno = error;
	return fd;
}

static void close_all(const int *fds, int count)
{
	int error = errno;
	for (int i = 0; i < count; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	errno = error;
}

int hand_over_device(struct parent *p, struct cursor c)
{
	static struct addresses a;
	const char *name = take_string(&c), *inside = take_string(&c);
	char path[64];
	p->what = name;
	snprintf(path, sizeof path, "/proc/%d/ns/net", (int)p->pid);
	enum { HERE, OWN, THERE, INSIDE, COUNT };
	int fds[COUNT] = { netlink_open(NETLINK_ROUTE), open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), open(path, O_RDONLY | O_CLOEXEC), -1 };
	int done = -1;
	a.count = 0;
	a.index = fds[HERE] < 0 ? 0 : interface_index(fds[HERE], name);
	if (a.index && fds[OWN] >= 0 && fds[THERE] >= 0 && read_addresses(fds[HERE], &a) == 0 &&
	    (fds[INSIDE] = open_inside(fds[THERE], fds[OWN])) >= 0 && move(fds[HERE], a.index, fds[THERE], inside) == 0)
		done = set_up(fds[INSIDE], inside, &a);
	close_all(fds, COUNT);
	return done;
}

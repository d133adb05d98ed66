/* Interfaces: bridges, veth pairs into a bridge, macvlan and ipvlan, vxlan. rtnetlink(7). */
#include "net.h"
#include "netlink.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

static const uint8_t no_address[16];

/* IFLA_LINKINFO with its kind; what is put until link_end is the kind's own data. */
struct kind {
	size_t info, data;
};

static struct kind kind_begin(struct request *r, const char *kind)
{
	struct kind k = { .info = nest_begin(r, IFLA_LINKINFO) };
	put_bytes(r, IFLA_INFO_KIND, kind, strlen(kind));
	k.data = nest_begin(r, IFLA_INFO_DATA);
	return k;
}

static void kind_end(struct request *r, struct kind k)
{
	nest_end(r, k.data);
	nest_end(r, k.info);
}

static void begin_new(struct request *r, unsigned flags)
{
	struct ifinfomsg head = { .ifi_family = AF_UNSPEC, .ifi_flags = flags, .ifi_change = flags };
	request_begin(r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &head, sizeof head);
}

static void put_mtu(struct request *r, uint32_t mtu)
{
	if (mtu)
		put_u32(r, IFLA_MTU, mtu);
}

static uint32_t index_of(struct net *n, int fd, const char *name)
{
	n->what = name;
	return interface_index(fd, name);
}

int net_set_up(struct net *n, struct cursor c, int up)
{
	int fd = net_socket(n, take_u32(&c), NET_SOCKET_ROUTE);
	const char *name = take_string(&c);
	struct request r;
	struct ifinfomsg head = { .ifi_flags = up ? IFF_UP : 0, .ifi_change = IFF_UP };
	if (fd < 0 || !(head.ifi_index = (int)index_of(n, fd, name)))
		return -1;
	request_begin(&r, RTM_NEWLINK, 0, &head, sizeof head);
	return request_send(fd, &r);
}

int net_delete(struct net *n, struct cursor c)
{
	int fd = net_socket(n, take_u32(&c), NET_SOCKET_ROUTE);
	const char *name = take_string(&c);
	struct request r;
	struct ifinfomsg head = { 0 };
	if (fd < 0 || !(head.ifi_index = (int)index_of(n, fd, name)))
		return -1;
	request_begin(&r, RTM_DELLINK, 0, &head, sizeof head);
	return request_send(fd, &r);
}

/* An alias says whose it is: whoever finds an interface without its state root may remove it. */
static int set_alias(struct net *n, int fd, const char *name, const char *alias)
{
	struct request r;
	struct ifinfomsg head = { .ifi_index = (int)index_of(n, fd, name) };
	if (!head.ifi_index)
		return -1;
	request_begin(&r, RTM_NEWLINK, 0, &head, sizeof head);
	put_bytes(&r, IFLA_IFALIAS, alias, strlen(alias));
	return request_send(fd, &r);
}

int net_bridge(struct net *n, struct cursor c)
{
	uint32_t mtu = take_u32(&c);
	const uint8_t *mac = take_bytes(&c, 8);
	const char *name = take_string(&c), *alias = take_string(&c);
	int fd = net_socket(n, NET_HOST, NET_SOCKET_ROUTE);
	struct request r;
	n->what = name;
	if (fd < 0)
		return -1;
	begin_new(&r, IFF_UP);
	put_string(&r, IFLA_IFNAME, name);
	put_mtu(&r, mtu);
	/* why: its own choice changes with its ports, and containers would send to a gateway that is no longer there. */
	put_bytes(&r, IFLA_ADDRESS, mac, 6);
	struct kind kind = kind_begin(&r, "bridge");
	kind_end(&r, kind);
	return request_send(fd, &r) < 0 ? -1 : set_alias(n, fd, name, alias);
}

static void put_peer(struct request *r, const struct net *n, const char *name, uint32_t mtu, const uint8_t *mac)
{
	const struct ifinfomsg head = { 0 };
	size_t peer = nest_begin(r, VETH_INFO_PEER);
	nest_raw(r, &head, sizeof head);
	put_string(r, IFLA_IFNAME, name);
	put_bytes(r, IFLA_ADDRESS, mac, 6);
	put_mtu(r, mtu);
	put_u32(r, IFLA_NET_NS_FD, (uint32_t)n->spaces[NET_INSIDE]);
	nest_end(r, peer);
}

static int set_port(struct net *n, int fd, const char *name, uint32_t flags)
{
	struct request r;
	struct ifinfomsg head = { .ifi_family = AF_BRIDGE, .ifi_index = (int)index_of(n, fd, name) };
	if (!head.ifi_index)
		return -1;
	request_begin(&r, RTM_SETLINK, 0, &head, sizeof head);
	size_t port = nest_begin(&r, IFLA_PROTINFO | NLA_F_NESTED);
	put_u8(&r, IFLA_BRPORT_ISOLATED, (flags & PORT_ISOLATED) != 0);
	put_u8(&r, IFLA_BRPORT_MODE, (flags & PORT_HAIRPIN) != 0);
	nest_end(&r, port);
	return request_send(fd, &r);
}

int net_veth(struct net *n, struct cursor c)
{
	uint32_t mtu = take_u32(&c), flags = take_u32(&c);
	const uint8_t *mac = take_bytes(&c, 8);
	const char *outside = take_string(&c), *bridge = take_string(&c), *inside = take_string(&c);
	int fd = net_socket(n, NET_HOST, NET_SOCKET_ROUTE);
	struct request r;
	uint32_t master = fd < 0 ? 0 : index_of(n, fd, bridge);
	if (!master)
		return -1;
	n->what = outside;
	if (n->spaces[NET_INSIDE] < 0) {
		errno = ENONET;
		return -1;
	}
	begin_new(&r, IFF_UP);
	put_string(&r, IFLA_IFNAME, outside);
	put_mtu(&r, mtu);
	put_u32(&r, IFLA_MASTER, master);
	struct kind kind = kind_begin(&r, "veth");
	put_peer(&r, n, inside, mtu, mac);
	kind_end(&r, kind);
	if (request_send(fd, &r) < 0)
		return -1;
	return flags ? set_port(n, fd, outside, flags) : 0;
}

int net_slave(struct net *n, struct cursor c)
{
	uint32_t is_ipvlan = take_u32(&c), mode = take_u32(&c), mtu = take_u32(&c);
	const uint8_t *mac = take_bytes(&c, 8);
	const char *parent = take_string(&c), *inside = take_string(&c);
	int fd = net_socket(n, NET_HOST, NET_SOCKET_ROUTE);
	struct request r;
	uint32_t link = fd < 0 ? 0 : index_of(n, fd, parent);
	if (!link)
		return -1;
	if (n->spaces[NET_INSIDE] < 0) {
		errno = ENONET;
		return -1;
	}
	begin_new(&r, 0);
	put_string(&r, IFLA_IFNAME, inside);
	put_mtu(&r, mtu);
	put_u32(&r, IFLA_LINK, link);
	put_u32(&r, IFLA_NET_NS_FD, (uint32_t)n->spaces[NET_INSIDE]);
	if (!is_ipvlan)
		put_bytes(&r, IFLA_ADDRESS, mac, 6);
	struct kind kind = kind_begin(&r, is_ipvlan ? "ipvlan" : "macvlan");
	if (is_ipvlan)
		put_u16(&r, IFLA_IPVLAN_MODE, (uint16_t)mode);
	else
		put_u32(&r, IFLA_MACVLAN_MODE, mode);
	kind_end(&r, kind);
	return request_send(fd, &r);
}

static void put_ip(struct request *r, uint32_t family, uint16_t type4, uint16_t type6, const uint8_t *address)
{
	if (memcmp(address, no_address, sizeof no_address) == 0)
		return;
	put_bytes(r, family == AF_INET ? type4 : type6, address, family == AF_INET ? 4 : 16);
}

int net_vxlan(struct net *n, struct cursor c)
{
	uint32_t vni = take_u32(&c), port = take_u32(&c), mtu = take_u32(&c), family = take_u32(&c);
	const uint8_t *local = take_bytes(&c, 16), *group = take_bytes(&c, 16);
	const char *name = take_string(&c), *bridge = take_string(&c), *device = take_string(&c), *alias = take_string(&c);
	int fd = net_socket(n, NET_HOST, NET_SOCKET_ROUTE);
	struct request r;
	uint32_t master = fd < 0 ? 0 : index_of(n, fd, bridge);
	uint32_t link = *device && master ? index_of(n, fd, device) : 0;
	if (!master || (*device && !link))
		return -1;
	n->what = name;
	begin_new(&r, IFF_UP);
	put_string(&r, IFLA_IFNAME, name);
	put_mtu(&r, mtu);
	put_u32(&r, IFLA_MASTER, master);
	struct kind kind = kind_begin(&r, "vxlan");
	put_u32(&r, IFLA_VXLAN_ID, vni);
	put_u16(&r, IFLA_VXLAN_PORT, htons((uint16_t)port));
	put_ip(&r, family, IFLA_VXLAN_LOCAL, IFLA_VXLAN_LOCAL6, local);
	put_ip(&r, family, IFLA_VXLAN_GROUP, IFLA_VXLAN_GROUP6, group);
	if (link)
		put_u32(&r, IFLA_VXLAN_LINK, link);
	put_u8(&r, IFLA_VXLAN_LEARNING, 1);
	kind_end(&r, kind);
	return request_send(fd, &r) < 0 ? -1 : set_alias(n, fd, name, alias);
}

int net_forward(struct net *n, struct cursor c)
{
	uint32_t family = take_u32(&c);
	const uint8_t *address = take_bytes(&c, 16);
	const char *name = take_string(&c);
	int fd = net_socket(n, NET_HOST, NET_SOCKET_ROUTE);
	struct request r;
	struct ndmsg head = { .ndm_family = AF_BRIDGE, .ndm_state = NUD_NOARP | NUD_PERMANENT, .ndm_flags = NTF_SELF };
	if (fd < 0 || !(head.ndm_ifindex = (int)index_of(n, fd, name)))
		return -1;
	request_begin(&r, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_APPEND, &head, sizeof head);
	put_bytes(&r, NDA_LLADDR, no_address, 6);
	put_bytes(&r, NDA_DST, address, family == AF_INET ? 4 : 16);
	return request_send(fd, &r);
}

#include "plan.h"
#include "ports.h"
#include <errno.h>
#include <string.h>

#define ENTRY 52

static int take_address(struct cursor *c, struct port_address *address)
{
	uint32_t family = take_u32(c);
	const uint8_t *bytes = take_bytes(c, 16);
	uint32_t port = take_u32(c);
	memset(address, 0, sizeof *address);
	if (c->bad || port == 0 || port > 65535)
		return -1;
	if (family == AF_INET) {
		address->size = sizeof address->v4;
		address->v4.sin_family = AF_INET;
		address->v4.sin_port = htons((uint16_t)port);
		memcpy(&address->v4.sin_addr, bytes, 4);
		return 0;
	}
	address->size = sizeof address->v6;
	address->v6.sin6_family = AF_INET6;
	address->v6.sin6_port = htons((uint16_t)port);
	memcpy(&address->v6.sin6_addr, bytes, 16);
	return family == AF_INET6 ? 0 : -1;
}

static int take_published(struct cursor *c, struct published *p)
{
	p->protocol = take_u32(c);
	if (take_address(c, &p->from) < 0 || take_address(c, &p->to) < 0)
		return -1;
	return p->protocol == IPPROTO_TCP || p->protocol == IPPROTO_UDP ? 0 : -1;
}

int ports_check(const uint8_t *bytes, uint32_t size, uint32_t *count)
{
	struct op whole = { 0, size, bytes };
	struct cursor c = cursor_of(&whole);
	struct published p;
	*count = take_u32(&c);
	errno = EINVAL;
	if (c.bad || *count > MAX_PORTS || size != 4 + *count * ENTRY)
		return -1;
	for (uint32_t i = 0; i < *count; i++)
		if (take_published(&c, &p) < 0)
			return -1;
	return 0;
}

struct published ports_at(const uint8_t *bytes, uint32_t index)
{
	struct op one = { 0, ENTRY, bytes + 4 + (size_t)index * ENTRY };
	struct cursor c = cursor_of(&one);
	struct published p;
	take_published(&c, &p);
	return p;
}

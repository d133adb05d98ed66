/* Reading a list of network operations: all bounds, all strings, before anything is done. See net.h. */
#include "net.h"
#include <errno.h>

/* Walks a payload as its executor will. */
static int check(const struct op *op)
{
	/* Numbers, bytes, strings of each operation; a last number of bytes follows where `sized`. */
	static const struct {
		uint8_t numbers, bytes, strings, sized;
	} shapes[] = {
		[NET_CREATE] = { 0, 0, 1, 0 },   [NET_OPEN] = { 0, 0, 1, 0 },	 [NET_REMOVE] = { 0, 0, 1, 0 },
		[NET_BRIDGE] = { 1, 8, 2, 0 },   [NET_VETH] = { 2, 8, 3, 0 },	 [NET_SLAVE] = { 3, 8, 2, 0 },
		[NET_VXLAN] = { 4, 32, 4, 0 },   [NET_FORWARD] = { 1, 16, 1, 0 }, [NET_DELETE] = { 1, 0, 1, 0 },
		[NET_UP] = { 1, 0, 1, 0 },	 [NET_ADDRESS] = { 3, 16, 1, 0 }, [NET_ROUTE] = { 3, 32, 1, 0 },
		[NET_SYSCTL] = { 1, 0, 2, 0 },   [NET_SEND] = { 2, 0, 0, 1 },	 [NET_DUMP] = { 2, 0, 0, 1 },
		[NET_DOWN] = { 1, 0, 1, 0 },
	};
	struct cursor c = cursor_of(op);
	if (op->code == 0 || op->code >= sizeof shapes / sizeof *shapes)
		return -1;
	for (int i = 0; i < shapes[op->code].numbers; i++)
		take_u32(&c);
	if (shapes[op->code].sized)
		take_bytes(&c, take_u32(&c));
	take_bytes(&c, shapes[op->code].bytes);
	for (int i = 0; i < shapes[op->code].strings; i++)
		take_string(&c);
	return c.bad ? -1 : 0;
}

struct op net_next(struct cursor *body, uint32_t *tolerated)
{
	uint32_t head = take_u32(body), length = take_u32(body);
	struct op op = { (uint16_t)head, length, take_bytes(body, length) };
	take_bytes(body, (8 - length % 8) % 8);
	*tolerated = head >> 16;
	return op;
}

int net_check(const uint8_t *bytes, size_t size, struct cursor *first, uint32_t *count, uint32_t *bad_op)
{
	struct cursor c = { bytes, bytes + size, 0 };
	uint32_t magic = take_u32(&c), version = take_u32(&c) & 0xffff, total = take_u32(&c), tolerated;
	*count = take_u32(&c);
	*bad_op = 0;
	*first = c;
	errno = EINVAL;
	if (c.bad || magic != NET_MAGIC || version != NET_VERSION || total != size || *count > NET_MAX_OPS)
		return -1;
	for (; *bad_op < *count; ++*bad_op) {
		struct op op = net_next(&c, &tolerated);
		if (c.bad || check(&op) < 0)
			return -1;
	}
	return c.at == c.end ? 0 : -1;
}

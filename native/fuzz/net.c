#include "fuzz.h"
#include "../launch/net.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	uint32_t bad, count, tolerated;
	struct cursor c;
	if (net_check(bytes, size, &c, &count, &bad) < 0)
		return 0;
	for (uint32_t i = 0; i < count; i++) {
		struct op op = net_next(&c, &tolerated);
		if (c.bad || op.payload < bytes || op.payload + op.length > bytes + size)
			abort();
	}
	return 0;
}

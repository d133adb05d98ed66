/* What a monitor is told to publish, and the keys that leave a terminal, which a user names. */
#include "fuzz.h"
#include "../launch/keys.h"
#include "../launch/ports.h"

static void look_at_ports(const uint8_t *bytes, size_t size)
{
	uint32_t count;
	if (ports_check(bytes, (uint32_t)size, &count) < 0)
		return;
	for (uint32_t i = 0; i < count; i++) {
		struct published p = ports_at(bytes, i);
		if (p.from.size == 0 || p.from.size > sizeof p.from.v6 || p.to.size == 0 || p.to.size > sizeof p.to.v6)
			abort();
	}
}

/* What is typed comes out again but for the keys, in pieces as in one. */
static void type(const char *hex, const uint8_t *typed, size_t size)
{
	struct keys whole, pieces;
	int left = 0, left_in_pieces = 0;
	if (keys_read(&whole, hex) < 0)
		return;
	pieces = whole;
	uint8_t *out = malloc(MAX_KEYS + size), *again = malloc(MAX_KEYS + size);
	size_t used = keys_pass(&whole, typed, size, out, &left), sum = 0;
	for (size_t at = 0; at < size && !left_in_pieces; at++) {
		uint8_t *piece = malloc(MAX_KEYS + 1);
		size_t n = keys_pass(&pieces, typed + at, 1, piece, &left_in_pieces);
		if (n > MAX_KEYS + 1 || sum + n > MAX_KEYS + size)
			abort();
		memcpy(again + sum, piece, n);
		sum += n;
		free(piece);
	}
	if (left != left_in_pieces || used != sum || memcmp(out, again, sum) || whole.matched != pieces.matched)
		abort();
	if (used + whole.matched > size || (!left && used + whole.matched != size))
		abort();
	free(out);
	free(again);
}

/* A list of ports; or, where the first byte is odd, hex digits up to a zero byte, and what is typed. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	if (size == 0 || bytes[0] % 2 == 0) {
		look_at_ports(bytes, size);
		return 0;
	}
	const uint8_t *nul = memchr(bytes + 1, 0, size - 1);
	if (nul)
		type((const char *)bytes + 1, nul + 1, size - 1 - (size_t)(nul - bytes));
	return 0;
}

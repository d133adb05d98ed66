#include "keys.h"
#include <string.h>

static int digit_of(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int keys_read(struct keys *keys, const char *hex)
{
	size_t length = strlen(hex);
	memset(keys, 0, sizeof *keys);
	if (length % 2 || length / 2 > MAX_KEYS)
		return -1;
	for (size_t i = 0; i < length; i += 2) {
		int high = digit_of(hex[i]), low = digit_of(hex[i + 1]);
		if (high < 0 || low < 0)
			return -1;
		keys->bytes[keys->count++] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

size_t keys_pass(struct keys *keys, const uint8_t *typed, size_t size, uint8_t *out, int *left)
{
	size_t used = 0;
	*left = 0;
	for (size_t i = 0; i < size && !*left; i++) {
		if (keys->count > 0 && typed[i] == keys->bytes[keys->matched])
			keys->matched++;
		else {
			memcpy(out + used, keys->bytes, keys->matched);
			used += keys->matched;
			keys->matched = keys->count > 0 && typed[i] == keys->bytes[0] ? 1 : 0;
			if (keys->matched == 0)
				out[used++] = typed[i];
		}
		*left = keys->count > 0 && keys->matched == keys->count;
	}
	return used;
}

/* Texts that are not ours: a line of an image's passwd, words that become JSON, what containers say of themselves. */
#include "fuzz.h"
#include "../launch/home.h"
#include "../launch/notify.h"
#include "../launch/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	char *text = malloc(size + 1);
	memcpy(text, bytes, size);
	text[size] = 0;
	int length = 0;
	const char *home = find_home(text, size > 0 ? bytes[0] % 4u : 0, &length);
	if (home && (length <= 0 || home < text || home + length > text + size))
		abort();
	for (size_t room = 3; room < 64; room += 6) {
		char *out = malloc(room + 1);
		if (json_string(out, room, text, size) > room)
			abort();
		free(out);
	}
	char *lines = malloc(size);
	if (notify_select((const char *)bytes, size, lines) > size)
		abort();
	free(lines);
	free(text);
	return 0;
}

/* What of a container's sd_notify(3) messages is for the service manager. */
#include "notify.h"
#include <string.h>

static const char *const passed[] = { "READY=1", "RELOADING=1", "STOPPING=1", "WATCHDOG=1", "STATUS=", "ERRNO=" };

static int is_passed(const char *line, size_t length)
{
	for (unsigned i = 0; i < sizeof passed / sizeof *passed; i++) {
		size_t size = strlen(passed[i]);
		if (length >= size && !memcmp(line, passed[i], size) && (passed[i][size - 1] == '=' || length == size))
			return 1;
	}
	return 0;
}

size_t notify_select(const char *message, size_t size, char *to)
{
	size_t length = 0;
	for (size_t at = 0; at < size;) {
		const char *end = memchr(message + at, '\n', size - at);
		size_t line = end ? (size_t)(end - message) - at : size - at;
		if (is_passed(message + at, line)) {
			if (length)
				to[length++] = '\n';
			memcpy(to + length, message + at, line);
			length += line;
		}
		at += line + 1;
	}
	return length;
}

/* What an archive calls things: its names made harmless. */
#include "tar-read.h"
#include <stdio.h>
#include <string.h>

size_t tar_confine(char *path)
{
	char *to = path;
	for (const char *from = path; *from;) {
		size_t size = strcspn(from, "/");
		if (size == 2 && from[0] == '.' && from[1] == '.') {
			/* Back over the component before, and over its slash. */
			while (to > path && *--to != '/')
				;
		} else if (size > 0 && !(size == 1 && from[0] == '.')) {
			if (to > path)
				*to++ = '/';
			memmove(to, from, size);
			to += size;
		}
		from += size + (from[size] == '/');
	}
	*to = 0;
	return (size_t)(to - path);
}

static int begins(const char *name, size_t size, const char *with)
{
	return size >= strlen(with) && memcmp(name, with, strlen(with)) == 0;
}

int tar_keeps_xattr(const char *name, size_t size)
{
	static const char capability[] = "security.capability";
	if (begins(name, size, "user."))
		return !begins(name, size, "user.overlay.");
	return size == strlen(capability) && begins(name, size, capability);
}

const char *tar_quoted(const char *text, size_t size, char *out, size_t room)
{
	size_t at = 0;
	out[at++] = '"';
	/* The longest form, the closing quote and the NUL must fit. */
	for (const char *end = text + size; text < end && at + 8 < room; text++) {
		unsigned char c = (unsigned char)*text;
		static const char *const named = "\b\f\n\r\t\"\\", *const as = "bfnrt\"\\";
		const char *found = c ? strchr(named, c) : NULL;
		if (found) {
			out[at++] = '\\';
			out[at++] = as[found - named];
		} else if (c < 0x20)
			at += (size_t)snprintf(out + at, room - at, "\\u%04x", c);
		else
			out[at++] = (char)c;
	}
	out[at++] = '"';
	out[at] = 0;
	return out;
}

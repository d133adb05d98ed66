/* HOME of a user as the container's own /etc/passwd has it: it is the image's, so neither its size nor type is trusted. */
#include "home.h"
#include "sandbox.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PASSWD_MAX (256u << 10)

/* The text of /etc/passwd; empty where there is none that is a regular file. */
static const char *read_passwd(void)
{
	static char text[PASSWD_MAX + 1];
	struct stat st;
	size_t size = 0;
	int fd = open("/etc/passwd", O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		for (ssize_t n; size < PASSWD_MAX && (n = read(fd, text + size, PASSWD_MAX - size)) > 0;)
			size += (size_t)n;
	if (fd >= 0)
		close(fd);
	text[size] = 0;
	return text;
}

/* Field `index` (from 0) of a line; its length, or -1. */
static int field(const char *line, size_t length, int index, const char **start)
{
	const char *at = line, *end = line + length;
	for (; index > 0; index--) {
		at = memchr(at, ':', (size_t)(end - at));
		if (!at)
			return -1;
		at++;
	}
	const char *colon = memchr(at, ':', (size_t)(end - at));
	*start = at;
	return (int)((colon ? colon : end) - at);
}

const char *find_home(const char *passwd, uint32_t user, int *length)
{
	char wanted[16];
	int digits = snprintf(wanted, sizeof wanted, "%u", user);
	for (const char *line = passwd, *next; *line; line = next) {
		const char *newline = strchr(line, '\n'), *uid, *directory;
		size_t size = newline ? (size_t)(newline - line) : strlen(line);
		next = newline ? newline + 1 : line + size;
		if (field(line, size, 2, &uid) != digits || strncmp(uid, wanted, (size_t)digits))
			continue;
		*length = field(line, size, 5, &directory);
		return *length > 0 ? directory : NULL;
	}
	return NULL;
}

int op_home(struct sandbox *s, struct cursor c)
{
	static char home[4096];
	int length;
	/* why: it may hold what the container before this one had. */
	strcpy(home, "HOME=/");
	const char *directory = find_home(read_passwd(), take_u32(&c), &length);
	if (s->plan->environment > 0)
		s->plan->envp[s->plan->environment - 1] = home;
	if (directory)
		snprintf(home, sizeof home, "HOME=%.*s", length, directory);
	return 0;
}

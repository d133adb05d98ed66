/* Who has which name, out of the files of leases. See dns.h. */
#include "dns.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define CONFIG_MAX (16u << 10)
#define LEASE_MAX (16u << 10)

/* At most size - 1 bytes, NUL-terminated; -1 with errno. */
static ssize_t read_text(int directory, const char *path, char *text, size_t size)
{
	int fd = openat(directory, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return -1;
	size_t length = 0;
	ssize_t n;
	while (length < size - 1 && (n = read(fd, text + length, size - 1 - length)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		length += (size_t)n;
	}
	close(fd);
	text[length] = 0;
	return (ssize_t)length;
}

static int parse_address(const char *text, struct dns_address *address)
{
	memset(address, 0, sizeof *address);
	for (int i = 0; i < 2; i++) {
		address->family = i ? AF_INET6 : AF_INET;
		if (inet_pton(address->family, text, address->bytes) == 1)
			return 0;
	}
	return -1;
}

/* `web`, or `web.NETWORK`. */
static int is_name(const char *asked, const char *name, const char *network)
{
	size_t length = strlen(name);
	if (length == 0 || strncasecmp(asked, name, length) != 0)
		return 0;
	return asked[length] == 0 || (asked[length] == '.' && strcasecmp(asked + length + 1, network) == 0);
}

static void take_found(struct dns_names *names, const struct dns_address *address)
{
	names->known = 1;
	if (names->count < DNS_ADDRESSES)
		names->found[names->count++] = *address;
}

/* One file: two lines about whose it is, then names. */
static void look_into(int directory, const char *file, const char *network, const struct question *question,
		      const struct dns_address *reverse, struct dns_names *names)
{
	static char text[LEASE_MAX];
	struct dns_address address;
	if (parse_address(file, &address) < 0)
		return;
	int is_reverse = reverse && memcmp(&address, reverse, sizeof address) == 0;
	if ((reverse && !is_reverse) || read_text(directory, file, text, sizeof text) < 0)
		return;
	char *rest = text;
	strsep(&rest, "\n");
	strsep(&rest, "\n");
	for (char *name = strsep(&rest, "\n"); name; name = strsep(&rest, "\n")) {
		if (is_reverse && *name && strlen(name) < sizeof names->pointer) {
			strcpy(names->pointer, name);
			return;
		}
		if (!reverse && is_name(question->name, name, network)) {
			take_found(names, &address);
			return;
		}
	}
}

static void look_through(const char *network, const char *path, const struct question *question,
			 const struct dns_address *reverse, struct dns_names *names)
{
	DIR *directory = opendir(path);
	if (!directory)
		return;
	for (struct dirent *entry = readdir(directory); entry; entry = readdir(directory))
		look_into(dirfd(directory), entry->d_name, network, question, reverse, names);
	closedir(directory);
}

int dns_look_up(const char *config, const struct question *question, struct dns_names *names)
{
	static char text[CONFIG_MAX];
	struct dns_address reverse;
	memset(names, 0, sizeof *names);
	if (read_text(AT_FDCWD, config, text, sizeof text) < 0)
		return -1;
	int is_reverse = question->type == DNS_PTR && dns_reverse_address(question->name, &reverse) == 0;
	char *rest = text;
	for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
		char *word = strsep(&line, " ");
		if (!line)
			continue;
		if (strcmp(word, "upstream") == 0 && names->upstreams < DNS_UPSTREAMS)
			names->upstreams += parse_address(line, &names->upstream[names->upstreams]) == 0;
		if (strcmp(word, "leases") == 0 && question->name[0]) {
			char *network = strsep(&line, " ");
			if (line)
				look_through(network, line, question, is_reverse ? &reverse : NULL, names);
		}
	}
	return 0;
}

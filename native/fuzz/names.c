/* The files that the name service reads: its own lines, and leases, whose names containers choose. */
#include "fuzz.h"
#include "../launch/dns.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[64], config[96], lease[96], other[96];

static void remove_all(void)
{
	unlink(config);
	unlink(lease);
	unlink(other);
	rmdir(directory);
}

static void begin(void)
{
	snprintf(directory, sizeof directory, "/dev/shm/tsbuild-names-%d", (int)getpid());
	if (mkdir(directory, 0700) < 0)
		abort();
	snprintf(config, sizeof config, "%s/config", directory);
	snprintf(lease, sizeof lease, "%s/10.0.0.1", directory);
	snprintf(other, sizeof other, "%s/fd00::1", directory);
	atexit(remove_all);
}

static void put(const char *path, const void *front, size_t front_size, const uint8_t *bytes, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, front, front_size) < 0 || write(fd, bytes, size) < 0)
		abort();
	close(fd);
}

static void ask(const char *name, size_t length, uint16_t type)
{
	struct question question = { .type = type, .class = 1, .end = 12 };
	static struct dns_names names;
	memcpy(question.name, name, length);
	if (dns_look_up(config, &question, &names) < 0)
		abort();
	if (names.count > DNS_ADDRESSES || names.upstreams > DNS_UPSTREAMS || !memchr(names.pointer, 0, sizeof names.pointer))
		abort();
	for (size_t i = 0; i < names.count; i++)
		if (names.found[i].family != AF_INET && names.found[i].family != AF_INET6)
			abort();
	/* What a container named itself becomes an answer. */
	uint8_t query[12] = { 0 }, *answer = malloc(DNS_UDP_MAX);
	if (names.pointer[0] && dns_write_pointer(query, &question, names.pointer, answer) > DNS_UDP_MAX)
		abort();
	free(answer);
}

/* A name up to a zero byte, lines of the configuration up to another, and the leases. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	char line[128];
	if (!*directory)
		begin();
	const uint8_t *end = memchr(bytes, 0, size);
	size_t length = end ? (size_t)(end - bytes) : size;
	const uint8_t *rest = bytes + length + (end != NULL);
	size_t left = size - (size_t)(rest - bytes);
	const uint8_t *middle = memchr(rest, 0, left);
	size_t lines = middle ? (size_t)(middle - rest) : left;
	int front = snprintf(line, sizeof line, "leases net %s\n", directory);
	put(config, line, (size_t)front, rest, lines);
	put(lease, "", 0, rest + lines, left - lines);
	put(other, "", 0, rest + lines, left - lines);
	if (length >= DNS_NAME_MAX)
		length = DNS_NAME_MAX - 1;
	ask((const char *)bytes, length, DNS_A);
	ask("1.0.0.10.in-addr.arpa", 21, DNS_PTR);
	return 0;
}

/*
 * The name service of a network namespace: answers names and addresses of the containers on the same networks, and
 * asks the host's servers, from the host's network, for everything else. UDP and TCP, RFC 1035.
 *
 * It reads a file of lines (src/runtime/network/container-files.ts), again at every question, so that it need not be
 * told of changes:
 *
 *   leases NETWORK DIRECTORY   files named by address: a line for the container, one for the owner, then names
 *   upstream ADDRESS           at most DNS_UPSTREAMS
 */
#ifndef TSB_DNS_H
#define TSB_DNS_H
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

/* 127.0.0.11, and the port that rules of the namespace lead port 53 to. */
#define DNS_ADDRESS 0x7f00000b
#define DNS_PORT 41053

#define DNS_NAME_MAX 256
#define DNS_UPSTREAMS 3
#define DNS_ADDRESSES 32
/* A question that is forwarded; longer ones are refused (questions are short: RFC 9018 has 1232 for answers). */
#define DNS_QUERY_MAX 1024
#define DNS_UDP_MAX 512

struct dns;

/*
 * Listens in the namespace at that path. The caller's namespace, where upstream servers are asked from, is what it
 * was before. NULL with errno.
 */
struct dns *dns_open(const char *netns, const char *config);
/* Readable when there is something to do: for the caller's poll loop. */
int dns_fd(const struct dns *dns);
/* Does what can be done without waiting. */
void dns_serve(struct dns *dns);
void dns_close(struct dns *dns);
/* The `names` call: serves until standard input ends. */
int dns_main(const char *netns, const char *config);

/* dns-message.c: bytes from outside, nothing else. */
enum { DNS_A = 1, DNS_PTR = 12, DNS_AAAA = 28, DNS_ANY = 255 };
enum { DNS_NOERROR = 0, DNS_FORMERR = 1, DNS_SERVFAIL = 2, DNS_NOTIMP = 4 };

struct question {
	char name[DNS_NAME_MAX]; /* lower case, without the last dot; "" where it has bytes that no host name has */
	uint16_t type, class;
	size_t end; /* of the question in the message */
};

struct dns_address {
	int family; /* AF_INET, AF_INET6 */
	uint8_t bytes[16];
};

/* A query with one question: DNS_NOERROR, or the code of the refusal; -1: not worth an answer. */
int dns_read_query(const uint8_t *message, size_t size, struct question *question);
/* Whether an answer is one to that query: same question, same id. */
int dns_is_answer(const uint8_t *query, size_t query_size, const uint8_t *answer, size_t size);
/* The bytes of an answer with addresses of the asked type, or with a name for DNS_PTR; returns their number. */
size_t dns_write_addresses(const uint8_t *query, const struct question *question, const struct dns_address *addresses,
			   size_t count, uint8_t answer[DNS_UDP_MAX]);
size_t dns_write_pointer(const uint8_t *query, const struct question *question, const char *name,
			 uint8_t answer[DNS_UDP_MAX]);
/* `end` as in the question, or 12 where there is none that could be repeated. */
size_t dns_write_refusal(const uint8_t *query, size_t end, int code, uint8_t answer[DNS_UDP_MAX]);
/* The address that a reverse name (4.3.2.1.in-addr.arpa, nibbles of ip6.arpa) is about; -1 where it is none. */
int dns_reverse_address(const char *name, struct dns_address *address);

/* dns-names.c: what the files say. */
struct dns_names {
	struct dns_address upstream[DNS_UPSTREAMS];
	size_t upstreams;
	struct dns_address found[DNS_ADDRESSES];
	size_t count;
	int known; /* the name is one of ours, whatever addresses it has */
	char pointer[DNS_NAME_MAX];
};

/* Looks a question up. -1 where the configuration cannot be read. */
int dns_look_up(const char *config, const struct question *question, struct dns_names *names);

#endif

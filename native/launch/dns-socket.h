/* The inside of the name service, shared by dns.c (UDP), dns-stream.c (TCP) and dns-open.c. */
#ifndef TSB_DNS_SOCKET_H
#define TSB_DNS_SOCKET_H
#include "dns.h"
#include <sys/types.h>

#define DNS_PENDING 32
#define DNS_STREAMS 16

/* Instead of a size: what is to be done with a question that is not answered here. */
#define DNS_SILENCE ((size_t)-1)
#define DNS_FORWARD ((size_t)-2)

enum dns_source { DNS_SOURCE_UDP, DNS_SOURCE_PENDING, DNS_SOURCE_LISTENER, DNS_SOURCE_STREAM, DNS_SOURCE_CLOCK };

/* A question that a server was asked over UDP; size 0: free. */
struct pending {
	int fd, tries;
	size_t size, upstreams;
	struct sockaddr_in client;
	struct dns_address upstream[DNS_UPSTREAMS];
	int64_t deadline;
	uint8_t id[2]; /* the client's */
	uint8_t query[DNS_QUERY_MAX];
};

/* A client over TCP, and the server that is asked for it; buffer NULL: free. */
struct stream {
	int client, server;
	enum { STREAM_QUESTION, STREAM_ASKING, STREAM_HEARING, STREAM_ANSWER } state;
	uint8_t *buffer; /* a message with its two bytes of length in front */
	size_t done, size;
	size_t upstreams, tries;
	struct dns_address upstream[DNS_UPSTREAMS];
	size_t query_size;
	uint8_t query[DNS_QUERY_MAX + 2];
	int64_t deadline;
};

struct dns {
	int poll, udp, tcp, clock, is_ticking;
	char *config;
	struct pending pending[DNS_PENDING];
	struct stream streams[DNS_STREAMS];
};

int64_t dns_now(void);
int dns_watch(struct dns *dns, int fd, uint32_t events, enum dns_source source, uint32_t index);
int dns_connect(const struct dns_address *server, int type);
/* The size of an answer that needs nobody else, DNS_SILENCE or DNS_FORWARD (to names->upstream). */
size_t dns_answer_here(struct dns *dns, const uint8_t *query, size_t size, struct dns_names *names,
		       uint8_t answer[DNS_UDP_MAX]);

void dns_stream_accept(struct dns *dns);
void dns_stream_serve(struct dns *dns, uint32_t index);
void dns_stream_clock(struct dns *dns, int64_t now);
int dns_stream_busy(const struct dns *dns);
void dns_stream_close(struct dns *dns);

#endif

/* The sockets of the name service: questions over UDP, what is asked upstream for them, and the clock. See dns.h. */
#include "dns.h"
#include "dns-socket.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* A server has that long for an answer before the next one is asked. */
#define PATIENCE_MS 2000
#define ROUNDS 2
#define ANSWER_MAX 65535

int64_t dns_now(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int dns_watch(struct dns *dns, int fd, uint32_t events, enum dns_source source, uint32_t index)
{
	struct epoll_event event = { .events = events, .data.u64 = (uint64_t)source << 32 | index };
	if (epoll_ctl(dns->poll, EPOLL_CTL_ADD, fd, &event) == 0)
		return 0;
	return errno == EEXIST ? epoll_ctl(dns->poll, EPOLL_CTL_MOD, fd, &event) : -1;
}

int dns_connect(const struct dns_address *server, int type)
{
	struct sockaddr_storage storage = { 0 };
	struct sockaddr_in *v4 = (struct sockaddr_in *)&storage;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&storage;
	int is4 = server->family == AF_INET;
	if (is4) {
		*v4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(53) };
		memcpy(&v4->sin_addr, server->bytes, 4);
	} else {
		*v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(53) };
		memcpy(&v6->sin6_addr, server->bytes, 16);
	}
	int fd = socket(server->family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&storage, is4 ? sizeof *v4 : sizeof *v6) == 0 || errno == EINPROGRESS)
		return fd;
	close(fd);
	return -1;
}

size_t dns_answer_here(struct dns *dns, const uint8_t *query, size_t size, struct dns_names *names,
		       uint8_t answer[DNS_UDP_MAX])
{
	struct question question;
	int code = dns_read_query(query, size, &question);
	if (code < 0)
		return DNS_SILENCE;
	if (code != DNS_NOERROR || size > DNS_QUERY_MAX)
		return dns_write_refusal(query, question.end, code ? code : DNS_FORMERR, answer);
	if (dns_look_up(dns->config, &question, names) < 0)
		return dns_write_refusal(query, question.end, DNS_SERVFAIL, answer);
	if (names->pointer[0])
		return dns_write_pointer(query, &question, names->pointer, answer);
	if (names->known)
		return dns_write_addresses(query, &question, names->found, names->count, answer);
	if (names->upstreams == 0)
		return dns_write_refusal(query, question.end, DNS_SERVFAIL, answer);
	return DNS_FORWARD;
}

/* Closes the socket; the slot is free. */
static void forget(struct pending *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
	p->size = 0;
}

static void give_up(struct dns *dns, struct pending *p)
{
	struct question question;
	uint8_t answer[DNS_UDP_MAX];
	if (dns_read_query(p->query, p->size, &question) == DNS_NOERROR) {
		memcpy(p->query, p->id, sizeof p->id);
		size_t size = dns_write_refusal(p->query, question.end, DNS_SERVFAIL, answer);
		sendto(dns->udp, answer, size, MSG_DONTWAIT, (struct sockaddr *)&p->client, sizeof p->client);
	}
	forget(p);
}

/*
 * Asks the next server, from a new socket: its port and the id are what an attacker would have to guess, and a
 * connected socket hears that server alone.
 */
static void ask(struct dns *dns, struct pending *p)
{
	while (p->tries < ROUNDS * (int)p->upstreams) {
		const struct dns_address *server = &p->upstream[(size_t)p->tries++ % p->upstreams];
		if (p->fd >= 0)
			close(p->fd);
		p->fd = dns_connect(server, SOCK_DGRAM);
		if (p->fd < 0)
			continue;
		if (getrandom(p->query, 2, 0) == 2 && send(p->fd, p->query, p->size, MSG_DONTWAIT) == (ssize_t)p->size &&
		    dns_watch(dns, p->fd, EPOLLIN, DNS_SOURCE_PENDING, (uint32_t)(p - dns->pending)) == 0) {
			p->deadline = dns_now() + PATIENCE_MS;
			return;
		}
	}
	give_up(dns, p);
}

/* A free slot, else the oldest one: whoever asks now matters more than who has waited for long. */
static struct pending *slot(struct dns *dns)
{
	struct pending *oldest = &dns->pending[0];
	for (int i = 0; i < DNS_PENDING; i++) {
		if (dns->pending[i].size == 0)
			return &dns->pending[i];
		if (dns->pending[i].deadline < oldest->deadline)
			oldest = &dns->pending[i];
	}
	forget(oldest);
	return oldest;
}

static void read_question(struct dns *dns)
{
	uint8_t query[DNS_QUERY_MAX + 1], answer[DNS_UDP_MAX];
	struct sockaddr_in client;
	socklen_t length = sizeof client;
	struct dns_names names;
	ssize_t n = recvfrom(dns->udp, query, sizeof query, MSG_DONTWAIT, (struct sockaddr *)&client, &length);
	if (n <= 0)
		return;
	size_t size = dns_answer_here(dns, query, (size_t)n, &names, answer);
	if (size == DNS_SILENCE)
		return;
	if (size != DNS_FORWARD) {
		sendto(dns->udp, answer, size, MSG_DONTWAIT, (struct sockaddr *)&client, length);
		return;
	}
	struct pending *p = slot(dns);
	*p = (struct pending){ .fd = -1, .client = client, .size = (size_t)n, .upstreams = names.upstreams };
	memcpy(p->query, query, (size_t)n);
	memcpy(p->id, query, sizeof p->id);
	memcpy(p->upstream, names.upstream, sizeof p->upstream);
	ask(dns, p);
}

static void read_answer(struct dns *dns, struct pending *p)
{
	static uint8_t answer[ANSWER_MAX];
	ssize_t n = p->fd < 0 ? -1 : recv(p->fd, answer, sizeof answer, MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN && errno != EINTR && p->size) {
		/* Nobody listens there (ECONNREFUSED): no need to wait. */
		ask(dns, p);
		return;
	}
	if (n <= 0 || !dns_is_answer(p->query, p->size, answer, (size_t)n))
		return;
	memcpy(answer, p->id, sizeof p->id);
	sendto(dns->udp, answer, (size_t)n, MSG_DONTWAIT, (struct sockaddr *)&p->client, sizeof p->client);
	forget(p);
}

static void look_at_clock(struct dns *dns)
{
	uint64_t ticks;
	int64_t now = dns_now();
	if (read(dns->clock, &ticks, sizeof ticks) < 0)
		return;
	for (int i = 0; i < DNS_PENDING; i++)
		if (dns->pending[i].size && dns->pending[i].deadline <= now)
			ask(dns, &dns->pending[i]);
	dns_stream_clock(dns, now);
}

/* The clock ticks only while somebody waits. */
static void set_clock(struct dns *dns)
{
	int busy = dns_stream_busy(dns);
	for (int i = 0; i < DNS_PENDING && !busy; i++)
		busy = dns->pending[i].size != 0;
	if (busy == dns->is_ticking)
		return;
	dns->is_ticking = busy;
	const struct itimerspec tick = { { 0, busy ? 250000000 : 0 }, { 0, busy ? 250000000 : 0 } };
	timerfd_settime(dns->clock, 0, &tick, NULL);
}

void dns_serve(struct dns *dns)
{
	struct epoll_event events[32];
	int n = epoll_wait(dns->poll, events, sizeof events / sizeof *events, 0);
	for (int i = 0; i < n; i++) {
		uint32_t index = (uint32_t)events[i].data.u64;
		switch ((enum dns_source)(events[i].data.u64 >> 32)) {
		case DNS_SOURCE_UDP:
			read_question(dns);
			break;
		case DNS_SOURCE_PENDING:
			read_answer(dns, &dns->pending[index]);
			break;
		case DNS_SOURCE_LISTENER:
			dns_stream_accept(dns);
			break;
		case DNS_SOURCE_STREAM:
			dns_stream_serve(dns, index);
			break;
		case DNS_SOURCE_CLOCK:
			look_at_clock(dns);
			break;
		}
	}
	set_clock(dns);
}

int dns_fd(const struct dns *dns)
{
	return dns->poll;
}

void dns_close(struct dns *dns)
{
	if (!dns)
		return;
	for (int i = 0; i < DNS_PENDING; i++)
		forget(&dns->pending[i]);
	dns_stream_close(dns);
	const int fds[] = { dns->udp, dns->tcp, dns->clock, dns->poll };
	for (unsigned i = 0; i < sizeof fds / sizeof *fds; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	free(dns->config);
	free(dns);
}

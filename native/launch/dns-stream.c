/* Questions over TCP: each message has its length in two bytes before it (RFC 1035, 4.2.2). One at a time. */
#include "dns-socket.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER (65535u + 2)
#define PATIENCE_MS 10000

static void end(struct stream *s)
{
	if (s->client >= 0)
		close(s->client);
	if (s->server >= 0)
		close(s->server);
	free(s->buffer);
	*s = (struct stream){ .client = -1, .server = -1 };
}

static uint32_t index_of(const struct dns *dns, const struct stream *s)
{
	return (uint32_t)(s - dns->streams);
}

/* A descriptor that is watched for nothing still tells of its hang-up. */
static void watch(struct dns *dns, struct stream *s, uint32_t client, uint32_t server)
{
	if (dns_watch(dns, s->client, client, DNS_SOURCE_STREAM, index_of(dns, s)) < 0 ||
	    (s->server >= 0 && dns_watch(dns, s->server, server, DNS_SOURCE_STREAM, index_of(dns, s)) < 0))
		end(s);
}

static void expect_question(struct dns *dns, struct stream *s)
{
	if (s->server >= 0)
		close(s->server);
	s->server = -1;
	s->state = STREAM_QUESTION;
	s->done = 0;
	s->size = 2;
	s->deadline = dns_now() + PATIENCE_MS;
	watch(dns, s, EPOLLIN, 0);
}

static void answer(struct dns *dns, struct stream *s, size_t size)
{
	s->buffer[0] = (uint8_t)(size >> 8);
	s->buffer[1] = (uint8_t)size;
	s->state = STREAM_ANSWER;
	s->done = 0;
	s->size = size + 2;
	watch(dns, s, EPOLLOUT, 0);
}

/* The next server, or the answer that there is none. */
static void ask(struct dns *dns, struct stream *s)
{
	if (s->server >= 0)
		close(s->server);
	s->server = -1;
	while (s->server < 0 && s->tries < s->upstreams)
		s->server = dns_connect(&s->upstream[s->tries++], SOCK_STREAM);
	if (s->server < 0) {
		struct question question;
		int code = dns_read_query(s->query + 2, s->query_size - 2, &question);
		answer(dns, s, dns_write_refusal(s->query + 2, question.end, code > 0 ? code : DNS_SERVFAIL, s->buffer + 2));
		return;
	}
	s->state = STREAM_ASKING;
	s->done = 0;
	s->size = s->query_size;
	watch(dns, s, 0, EPOLLOUT);
}

static void handle_question(struct dns *dns, struct stream *s)
{
	struct dns_names names;
	uint8_t reply[DNS_UDP_MAX];
	size_t size = dns_answer_here(dns, s->buffer + 2, s->size - 2, &names, reply);
	if (size == DNS_SILENCE) {
		end(s);
		return;
	}
	if (size != DNS_FORWARD) {
		memcpy(s->buffer + 2, reply, size);
		answer(dns, s, size);
		return;
	}
	memcpy(s->query, s->buffer, s->size);
	s->query_size = s->size;
	s->upstreams = names.upstreams;
	s->tries = 0;
	memcpy(s->upstream, names.upstream, sizeof s->upstream);
	ask(dns, s);
}

/* 1 when all of it is there, 0 when more must be waited for, -1 at the end or on error. */
static int read_more(int fd, struct stream *s)
{
	while (s->done < s->size) {
		ssize_t n = recv(fd, s->buffer + s->done, s->size - s->done, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0)
			return -1;
		s->done += (size_t)n;
		if (s->done == 2 && s->size == 2)
			s->size = 2 + (size_t)(s->buffer[0] << 8 | s->buffer[1]);
	}
	return s->size > 2 ? 1 : -1;
}

static int write_more(int fd, struct stream *s, const uint8_t *bytes)
{
	while (s->done < s->size) {
		ssize_t n = send(fd, bytes + s->done, s->size - s->done, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == ENOTCONN))
			return 0;
		if (n <= 0)
			return -1;
		s->done += (size_t)n;
	}
	return 1;
}

static void go_on(struct dns *dns, struct stream *s)
{
	int step;
	switch (s->state) {
	case STREAM_QUESTION:
		step = read_more(s->client, s);
		if (step > 0)
			handle_question(dns, s);
		else if (step < 0)
			end(s);
		break;
	case STREAM_ASKING:
		step = write_more(s->server, s, s->query);
		if (step < 0)
			ask(dns, s);
		if (step > 0) {
			s->state = STREAM_HEARING;
			s->done = 0;
			s->size = 2;
			watch(dns, s, 0, EPOLLIN);
		}
		break;
	case STREAM_HEARING:
		step = read_more(s->server, s);
		if (step < 0 || (step > 0 && !dns_is_answer(s->query + 2, s->query_size - 2, s->buffer + 2, s->size - 2)))
			ask(dns, s);
		else if (step > 0)
			answer(dns, s, s->size - 2);
		break;
	case STREAM_ANSWER:
		step = write_more(s->client, s, s->buffer);
		if (step < 0)
			end(s);
		if (step > 0)
			expect_question(dns, s);
		break;
	}
}

void dns_stream_serve(struct dns *dns, uint32_t index)
{
	struct stream *s = &dns->streams[index];
	char byte;
	if (!s->buffer)
		return;
	/* A client that is gone needs no answer. */
	if (s->state != STREAM_QUESTION && recv(s->client, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
		end(s);
	else
		go_on(dns, s);
}

void dns_stream_accept(struct dns *dns)
{
	int fd = accept4(dns->tcp, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	struct stream *s = &dns->streams[0];
	for (int i = 0; i < DNS_STREAMS && s->buffer; i++)
		if (!dns->streams[i].buffer || dns->streams[i].deadline < s->deadline)
			s = &dns->streams[i];
	if (s->buffer)
		end(s);
	*s = (struct stream){ .client = fd, .server = -1, .buffer = malloc(BUFFER) };
	if (!s->buffer)
		end(s);
	else
		expect_question(dns, s);
}

void dns_stream_clock(struct dns *dns, int64_t now)
{
	for (int i = 0; i < DNS_STREAMS; i++)
		if (dns->streams[i].buffer && dns->streams[i].deadline <= now)
			end(&dns->streams[i]);
}

int dns_stream_busy(const struct dns *dns)
{
	for (int i = 0; i < DNS_STREAMS; i++)
		if (dns->streams[i].buffer)
			return 1;
	return 0;
}

void dns_stream_close(struct dns *dns)
{
	for (int i = 0; i < DNS_STREAMS; i++)
		end(&dns->streams[i]);
}

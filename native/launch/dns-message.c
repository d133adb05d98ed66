/* Reading and writing of DNS messages (RFC 1035, 4). Every length is checked; see dns.h. */
#include "dns.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define HEADER 12
#define LABEL_MAX 63
#define IN 1
#define TTL_SECONDS 5

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static int is_host_byte(uint8_t byte)
{
	return isalnum(byte) || byte == '-' || byte == '_';
}

/* The end of a name that uses no compression, 0 where it is malformed. `text` is emptied for odd bytes. */
static size_t read_name(const uint8_t *message, size_t size, size_t at, char text[DNS_NAME_MAX])
{
	size_t length = 0, start = at;
	int odd = 0;
	while (at < size && message[at]) {
		size_t label = message[at++];
		if (label > LABEL_MAX || label > size - at || at + label - start > DNS_NAME_MAX - 2)
			return 0;
		if (length)
			text[length++] = '.';
		for (size_t i = 0; i < label; i++) {
			odd |= !is_host_byte(message[at + i]);
			text[length++] = (char)tolower(message[at + i]);
		}
		at += label;
	}
	text[odd ? 0 : length] = 0;
	return at < size ? at + 1 : 0;
}

int dns_read_query(const uint8_t *message, size_t size, struct question *question)
{
	memset(question, 0, sizeof *question);
	question->end = HEADER;
	/* The first bit of the flags says that it is an answer: two servers must not talk to each other for ever. */
	if (size < HEADER || message[2] & 0x80)
		return -1;
	if (message[2] & 0x78)
		return DNS_NOTIMP;
	if (get16(message + 4) != 1)
		return DNS_FORMERR;
	size_t end = read_name(message, size, HEADER, question->name);
	if (!end || size - end < 4)
		return DNS_FORMERR;
	question->type = get16(message + end);
	question->class = get16(message + end + 2);
	question->end = end + 4;
	if (question->class != IN)
		question->name[0] = 0;
	return DNS_NOERROR;
}

int dns_is_answer(const uint8_t *query, size_t query_size, const uint8_t *answer, size_t size)
{
	struct question asked, repeated;
	if (size < HEADER || !(answer[2] & 0x80) || memcmp(query, answer, 2) != 0)
		return 0;
	if (dns_read_query(query, query_size, &asked) != DNS_NOERROR)
		return 0;
	/* A server that could not read the question need not repeat it. */
	if (get16(answer + 4) == 0)
		return (answer[3] & 0x0f) != DNS_NOERROR;
	if (get16(answer + 4) != 1)
		return 0;
	size_t end = read_name(answer, size, HEADER, repeated.name);
	return end && size - end >= 4 && strcmp(asked.name, repeated.name) == 0 && get16(answer + end) == asked.type &&
	       get16(answer + end + 2) == asked.class;
}

/* Header and question, repeated; recursion was wanted and is to be had. */
static size_t begin(const uint8_t *query, size_t end, int code, uint8_t *answer)
{
	if (end > DNS_UDP_MAX)
		end = HEADER;
	memcpy(answer, query, end);
	answer[2] = (uint8_t)(0x80 | (query[2] & 0x01));
	answer[3] = (uint8_t)(0x80 | code);
	put16(answer + 4, end > HEADER);
	memset(answer + 6, 0, 6);
	return end;
}

size_t dns_write_refusal(const uint8_t *query, size_t end, int code, uint8_t answer[DNS_UDP_MAX])
{
	return begin(query, end, code, answer);
}

/* One record about the name of the question; the place after it, or `at` where it does not fit. */
static size_t add_record(uint8_t *answer, size_t at, uint16_t type, const uint8_t *data, size_t size)
{
	if (at + 12 + size > DNS_UDP_MAX)
		return at;
	put16(answer + at, 0xc000 | HEADER);
	put16(answer + at + 2, type);
	put16(answer + at + 4, IN);
	put16(answer + at + 6, 0);
	put16(answer + at + 8, TTL_SECONDS);
	put16(answer + at + 10, (uint32_t)size);
	memcpy(answer + at + 12, data, size);
	put16(answer + 6, get16(answer + 6) + 1u);
	return at + 12 + size;
}

size_t dns_write_addresses(const uint8_t *query, const struct question *question, const struct dns_address *addresses,
			   size_t count, uint8_t answer[DNS_UDP_MAX])
{
	size_t at = begin(query, question->end, DNS_NOERROR, answer);
	if (at == HEADER)
		return at;
	for (size_t i = 0; i < count; i++) {
		int is4 = addresses[i].family == AF_INET;
		uint16_t type = is4 ? DNS_A : DNS_AAAA;
		if (question->type == type || question->type == DNS_ANY)
			at = add_record(answer, at, type, addresses[i].bytes, is4 ? 4 : 16);
	}
	return at;
}

size_t dns_write_pointer(const uint8_t *query, const struct question *question, const char *name,
			 uint8_t answer[DNS_UDP_MAX])
{
	uint8_t data[DNS_NAME_MAX + 2];
	size_t size = 0, at = begin(query, question->end, DNS_NOERROR, answer);
	while (at > HEADER && *name) {
		size_t label = strcspn(name, ".");
		if (label == 0 || label > LABEL_MAX || size + label + 2 > sizeof data)
			return at;
		data[size++] = (uint8_t)label;
		memcpy(data + size, name, label);
		size += label;
		name += label + (name[label] == '.');
	}
	data[size++] = 0;
	return at > HEADER ? add_record(answer, at, DNS_PTR, data, size) : at;
}

static int reverse4(const char *name, struct dns_address *address)
{
	unsigned part[4];
	int end = 0;
	if (sscanf(name, "%3u.%3u.%3u.%3u.in-addr.arpa%n", &part[0], &part[1], &part[2], &part[3], &end) != 4 || !end || name[end])
		return -1;
	address->family = AF_INET;
	for (int i = 0; i < 4; i++) {
		if (part[i] > 255)
			return -1;
		address->bytes[3 - i] = (uint8_t)part[i];
	}
	return 0;
}

int dns_reverse_address(const char *name, struct dns_address *address)
{
	memset(address, 0, sizeof *address);
	if (strlen(name) != 72 || strcmp(name + 64, "ip6.arpa") != 0)
		return reverse4(name, address);
	address->family = AF_INET6;
	for (int i = 0; i < 32; i++) {
		const char *digits = "0123456789abcdef", *digit = strchr(digits, name[2 * i]);
		if (!digit || name[2 * i + 1] != '.')
			return -1;
		int at = 15 - i / 2;
		address->bytes[at] |= (uint8_t)((digit - digits) << (i % 2 ? 4 : 0));
	}
	return 0;
}

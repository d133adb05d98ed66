#include "fuzz.h"
#include "../launch/dns.h"

static void answer(const uint8_t *query, size_t size, const struct question *question)
{
	static const struct dns_address addresses[DNS_ADDRESSES] = { { 2, { 10, 0, 0, 1 } }, { 10, { 0xfd } } };
	uint8_t *copy = malloc(DNS_UDP_MAX);
	struct dns_address address;
	size_t written = dns_write_addresses(query, question, addresses, DNS_ADDRESSES, copy);
	if (written > DNS_UDP_MAX || (question->class == 1 && !dns_is_answer(query, size, copy, written)))
		abort();
	if (dns_write_pointer(query, question, "name.of.a.container", copy) > DNS_UDP_MAX)
		abort();
	dns_reverse_address(question->name, &address);
	free(copy);
}

/* A query in front, an answer to it behind; the first byte says where the one ends. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	if (size == 0)
		return 0;
	size_t query_size = bytes[0] < size - 1 ? bytes[0] : size - 1;
	uint8_t *query = malloc(query_size + 1), refusal[DNS_UDP_MAX];
	memcpy(query, bytes + 1, query_size);
	query = realloc(query, query_size ? query_size : 1);
	struct question question;
	memset(&question, 0, sizeof question);
	int code = dns_read_query(query, query_size, &question);
	if (code == DNS_NOERROR) {
		if (question.end > query_size || memchr(question.name, 0, sizeof question.name) == NULL)
			abort();
		if (question.end <= DNS_UDP_MAX)
			answer(query, query_size, &question);
		dns_is_answer(query, query_size, bytes + 1 + query_size, size - 1 - query_size);
	} else if (code > 0 && dns_write_refusal(query, 12, code, refusal) > DNS_UDP_MAX)
		abort();
	free(query);
	return 0;
}

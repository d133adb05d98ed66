#include "inflate-table.h"
#include <string.h>

#define MAX_BITS 15

static unsigned reversed(unsigned code, unsigned length)
{
	unsigned result = 0;
	for (unsigned i = 0; i < length; i++, code >>= 1)
		result = result << 1 | (code & 1);
	return result;
}

/* Bits of the subtable that begins with the code of rank `from` among those of this and greater lengths. */
static unsigned subtable_bits(const uint16_t left[MAX_BITS + 1], unsigned length, unsigned root)
{
	unsigned bits = length - root, filled = left[length];
	while (bits < MAX_BITS - root && filled < 1U << bits) {
		bits++;
		filled = (filled << 1) + left[root + bits];
	}
	return bits;
}

int make_table(struct entry_table *table, const uint8_t *lengths, const uint32_t *meanings, unsigned count, int may_be_incomplete)
{
	uint16_t counts[MAX_BITS + 1] = { 0 }, offsets[MAX_BITS + 2] = { 0 }, sorted[288];
	for (unsigned i = 0; i < count; i++)
		counts[lengths[i]]++;
	counts[0] = 0;
	unsigned used = 0;
	int32_t space = 1;
	for (unsigned length = 1; length <= MAX_BITS; length++) {
		offsets[length + 1] = (uint16_t)(offsets[length] + counts[length]);
		used += counts[length];
		space = space * 2 - counts[length];
		if (space < 0)
			return 0;
	}
	if (space > 0 && !(may_be_incomplete && (used == 0 || (used == 1 && counts[1] == 1))))
		return 0;
	for (unsigned i = 0; i < count; i++)
		if (lengths[i] > 0)
			sorted[offsets[lengths[i]]++] = (uint16_t)i;

	memset(table->entries, 0, sizeof *table->entries << table->bits);
	uint16_t left[MAX_BITS + 1];
	memcpy(left, counts, sizeof left);
	unsigned code = 0, length = 1, next = 1U << table->bits, sub_prefix = ~0U, sub_at = 0, sub_bits = 0;
	for (unsigned i = 0; i < used; i++, code++) {
		for (; left[length] == 0; length++)
			code <<= 1;
		uint32_t meaning = meanings[sorted[i]];
		unsigned bits = reversed(code, length);
		if (length <= table->bits) {
			for (unsigned at = bits; at < 1U << table->bits; at += 1U << length)
				table->entries[at] = meaning + length;
		} else {
			unsigned prefix = bits & ((1U << table->bits) - 1);
			if (prefix != sub_prefix) {
				sub_prefix = prefix;
				sub_bits = subtable_bits(left, length, table->bits);
				sub_at = next;
				next += 1U << sub_bits;
				if (next > table->room)
					return 0;
				memset(table->entries + sub_at, 0, sizeof *table->entries << sub_bits);
				table->entries[prefix] = ENTRY_SUBTABLE | sub_at << 16 | sub_bits << 8 | table->bits;
			}
			unsigned rest = length - table->bits;
			for (unsigned at = bits >> table->bits; at < 1U << sub_bits; at += 1U << rest)
				table->entries[sub_at + at] = meaning + rest;
		}
		left[length]--;
	}
	return 1;
}

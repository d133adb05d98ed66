#include "inflate.h"
#include "inflate-table.h"
#include <string.h>

/* The longest match; of it, what one step of the fast loop may write besides three literals. */
#define MAX_MATCH 258
#define FAST_ROOM (MAX_MATCH + 3)
/* Bytes of input that one step of the fast loop may take. */
#define FAST_INPUT 16

struct decoder {
	struct input *in;
	struct output *out;
	/* Bits that were taken from the input, the next one lowest; how many of them count. */
	uint64_t bits;
	unsigned count;
	/* Bytes of zeros that were taken for input after its end. */
	unsigned beyond;
	uint32_t literals[LITERAL_ENTRIES], distances[DISTANCE_ENTRIES];
};

static const char damaged[] = "the compressed data are damaged", cut[] = "the compressed data end too early";

/* At least 56 bits, of which those beyond the end of the input are zeros. */
static void refill_slowly(struct decoder *d)
{
	while (d->count < 56) {
		if (d->in->at == d->in->end && !d->in->more(d->in)) {
			d->beyond++;
			d->count += 8;
			continue;
		}
		d->bits |= (uint64_t)*d->in->at++ << d->count;
		d->count += 8;
	}
}

static unsigned take_bits(struct decoder *d, unsigned count)
{
	if (d->count < count)
		refill_slowly(d);
	unsigned value = (unsigned)(d->bits & ((1ULL << count) - 1));
	d->bits >>= count;
	d->count -= count;
	return value;
}

/* Whether bits were used that nobody sent. */
static int is_cut(const struct decoder *d)
{
	return d->beyond > d->count / 8;
}

/* Whole bytes that were taken too early go back; the rest of the byte in hand is dropped. */
static void give_back(struct decoder *d)
{
	unsigned whole = d->count / 8;
	unsigned real = whole > d->beyond ? whole - d->beyond : 0;
	d->in->at -= real;
	d->bits = 0;
	d->count = 0;
	d->beyond = 0;
}

static const char *copy_stored(struct decoder *d)
{
	take_bits(d, d->count % 8);
	unsigned size = take_bits(d, 16), check = take_bits(d, 16);
	if (is_cut(d))
		return cut;
	if (size != (check ^ 0xffff))
		return damaged;
	give_back(d);
	while (size > 0) {
		if (d->in->at == d->in->end && !d->in->more(d->in))
			return cut;
		if (d->out->at == d->out->end)
			d->out->flush(d->out);
		size_t part = size, there = (size_t)(d->in->end - d->in->at), room = (size_t)(d->out->end - d->out->at);
		if (part > there)
			part = there;
		if (part > room)
			part = room;
		memcpy(d->out->at, d->in->at, part);
		d->out->at += part;
		d->in->at += part;
		size -= (unsigned)part;
	}
	return NULL;
}

#define LENGTH(base, extra) (ENTRY_BASE | (uint32_t)(base) << 16 | (extra) << 8)

static const uint16_t length_bases[29] = {
	3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258,
};
static const uint8_t length_extras[29] = {
	0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
};

static const char *make_tables(struct decoder *d, const uint8_t *lengths, unsigned literals, unsigned distances)
{
	uint32_t meanings[288] = { 0 };
	struct entry_table table = { d->literals, LITERAL_ENTRIES, LITERAL_BITS };
	for (unsigned i = 0; i < 256; i++)
		meanings[i] = ENTRY_LITERAL | i << 16;
	meanings[256] = ENTRY_END;
	for (unsigned i = 0; i < 29; i++)
		meanings[257 + i] = LENGTH(length_bases[i], length_extras[i]);
	/* 286 and 287 take part in the fixed code and mean nothing: 0 with a length is no entry that has a flag. */
	if (!make_table(&table, lengths, meanings, literals, 1))
		return damaged;
	table = (struct entry_table){ d->distances, DISTANCE_ENTRIES, DISTANCE_BITS };
	for (unsigned i = 0; i < 30; i++) {
		unsigned extra = i < 2 ? 0 : i / 2 - 1;
		meanings[i] = LENGTH(i < 2 ? i + 1 : ((2 + i % 2) << extra) + 1, extra);
	}
	meanings[30] = meanings[31] = 0;
	return make_table(&table, lengths + literals, meanings, distances, 1) ? NULL : damaged;
}

static const char *read_fixed(struct decoder *d)
{
	uint8_t lengths[288 + 32];
	memset(lengths, 8, 144);
	memset(lengths + 144, 9, 112);
	memset(lengths + 256, 7, 24);
	memset(lengths + 280, 8, 8);
	memset(lengths + 288, 5, 32);
	return make_tables(d, lengths, 288, 32);
}

static const char *read_dynamic(struct decoder *d)
{
	static const uint8_t order[19] = { 16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15 };
	uint32_t meanings[19], entries[128];
	uint8_t lengths[286 + 32 + 138] = { 0 }, own[19] = { 0 };
	struct entry_table table = { entries, 128, 7 };
	unsigned literals = take_bits(d, 5) + 257, distances = take_bits(d, 5) + 1, count = take_bits(d, 4) + 4;
	if (literals > 286 || distances > 30)
		return is_cut(d) ? cut : damaged;
	for (unsigned i = 0; i < count; i++)
		own[order[i]] = (uint8_t)take_bits(d, 3);
	for (unsigned i = 0; i < 19; i++)
		meanings[i] = ENTRY_LITERAL | i << 16;
	if (!make_table(&table, own, meanings, 19, 0))
		return is_cut(d) ? cut : damaged;
	for (unsigned at = 0; at < literals + distances;) {
		if (d->count < 16)
			refill_slowly(d);
		uint32_t entry = entries[d->bits & 127];
		unsigned symbol = entry >> 16;
		take_bits(d, entry & 0xff);
		if (symbol < 16) {
			lengths[at++] = (uint8_t)symbol;
			continue;
		}
		if (symbol == 16 && at == 0)
			return damaged;
		uint8_t value = symbol == 16 ? lengths[at - 1] : 0;
		unsigned repeat = symbol == 16 ? 3 + take_bits(d, 2) : symbol == 17 ? 3 + take_bits(d, 3) : 11 + take_bits(d, 7);
		memset(lengths + at, value, repeat);
		at += repeat;
		if (at > literals + distances)
			return damaged;
	}
	if (is_cut(d))
		return cut;
	return make_tables(d, lengths, literals, distances);
}

static inline void copy_match(uint8_t *to, size_t distance, size_t length)
{
	const uint8_t *from = to - distance;
	uint8_t *end = to + length;
	if (distance >= 8) {
		/* Up to 15 bytes too many; there is slack. */
		do {
			memcpy(to, from, 8);
			memcpy(to + 8, from + 8, 8);
			to += 16;
			from += 16;
		} while (to < end);
	} else if (distance == 1) {
		memset(to, *from, length);
	} else {
		do
			*to++ = *from++;
		while (to < end);
	}
}

/* As copy_match, where the output ends within the match. */
static void copy_slowly(struct output *out, size_t distance, size_t length)
{
	while (length > 0) {
		if (out->at == out->end)
			out->flush(out);
		size_t room = (size_t)(out->end - out->at), part = length < room ? length : room;
		copy_match(out->at, distance, part);
		out->at += part;
		length -= part;
	}
}

static inline uint32_t look_up(const uint32_t *table, unsigned root, uint64_t *bits, unsigned *count)
{
	uint32_t entry = table[*bits & ((1U << root) - 1)];
	if (__builtin_expect((entry & ENTRY_FLAGS) == ENTRY_SUBTABLE, 0)) {
		*bits >>= root;
		*count -= root;
		entry = table[(entry >> 16) + (*bits & ((1U << (entry >> 8 & 15)) - 1))];
	}
	return entry;
}

/* Value of an entry with a base: its extra bits follow its code. Takes both. */
static inline unsigned take_value(uint32_t entry, uint64_t *bits, unsigned *count)
{
	unsigned length = entry & 0xff, extra = entry >> 8 & 15;
	unsigned value = (entry >> 16) + (unsigned)(*bits >> length & ((1U << extra) - 1));
	*bits >>= length + extra;
	*count -= length + extra;
	return value;
}

static inline int is_far(const struct output *out, const uint8_t *at, unsigned distance)
{
	return distance > (size_t)(at - out->start);
}

enum step { GO_ON, BLOCK_ENDS, IS_DAMAGED };

/* As long as neither window can end within a step. */
static enum step decode_fast(struct decoder *d)
{
	const uint8_t *in = d->in->at, *in_end = d->in->end;
	uint8_t *out = d->out->at, *out_end = d->out->end;
	uint64_t bits = d->bits;
	unsigned count = d->count;
	enum step step = GO_ON;
#define CONSUME(e) (bits >>= (e) & 0xff, count -= (e) & 0xff)
	while (in_end - in >= FAST_INPUT && out_end - out >= FAST_ROOM) {
		uint64_t more;
		memcpy(&more, in, 8);
		/* Bits above `count` may be there already: they are the same ones. */
		bits |= more << count;
		in += (63 - count) >> 3;
		count |= 56;
		uint32_t entry = look_up(d->literals, LITERAL_BITS, &bits, &count);
		/* Three literals of 15 bits at most leave 11. */
		if (entry & ENTRY_LITERAL) {
			*out++ = (uint8_t)(entry >> 16);
			CONSUME(entry);
			entry = look_up(d->literals, LITERAL_BITS, &bits, &count);
			if (entry & ENTRY_LITERAL) {
				*out++ = (uint8_t)(entry >> 16);
				CONSUME(entry);
				entry = look_up(d->literals, LITERAL_BITS, &bits, &count);
				if (entry & ENTRY_LITERAL) {
					*out++ = (uint8_t)(entry >> 16);
					CONSUME(entry);
					continue;
				}
			}
			memcpy(&more, in, 8);
			bits |= more << count;
			in += (63 - count) >> 3;
			count |= 56;
		}
		if (__builtin_expect(!(entry & ENTRY_BASE), 0)) {
			step = entry & ENTRY_END ? BLOCK_ENDS : IS_DAMAGED;
			CONSUME(entry);
			break;
		}
		unsigned length = take_value(entry, &bits, &count);
		entry = look_up(d->distances, DISTANCE_BITS, &bits, &count);
		unsigned distance = take_value(entry, &bits, &count);
		if (__builtin_expect(!(entry & ENTRY_BASE) || is_far(d->out, out, distance), 0)) {
			step = IS_DAMAGED;
			break;
		}
		copy_match(out, distance, length);
		out += length;
	}
#undef CONSUME
	d->in->at = in;
	d->out->at = out;
	/* What lies above `count` is not counted, and must not be there when bytes are added slowly. */
	d->bits = count < 64 ? bits & ((1ULL << count) - 1) : bits;
	d->count = count;
	return step;
}

/* One literal or match, wherever the windows end. */
static enum step decode_slowly(struct decoder *d)
{
	refill_slowly(d);
	uint32_t entry = look_up(d->literals, LITERAL_BITS, &d->bits, &d->count);
	if (!(entry & (ENTRY_LITERAL | ENTRY_BASE))) {
		d->bits >>= entry & 0xff;
		d->count -= entry & 0xff;
		return entry & ENTRY_END ? BLOCK_ENDS : IS_DAMAGED;
	}
	if (d->out->at == d->out->end)
		d->out->flush(d->out);
	if (entry & ENTRY_LITERAL) {
		d->bits >>= entry & 0xff;
		d->count -= entry & 0xff;
		*d->out->at++ = (uint8_t)(entry >> 16);
		return GO_ON;
	}
	unsigned length = take_value(entry, &d->bits, &d->count);
	refill_slowly(d);
	entry = look_up(d->distances, DISTANCE_BITS, &d->bits, &d->count);
	unsigned distance = take_value(entry, &d->bits, &d->count);
	if (!(entry & ENTRY_BASE) || is_far(d->out, d->out->at, distance))
		return IS_DAMAGED;
	copy_slowly(d->out, distance, length);
	return GO_ON;
}

static const char *decode_block(struct decoder *d)
{
	for (;;) {
		enum step step = decode_fast(d);
		if (step == GO_ON)
			step = decode_slowly(d);
		/* why first: what was read beyond the end may look like anything. */
		if (is_cut(d))
			return cut;
		if (step == IS_DAMAGED)
			return damaged;
		if (step == BLOCK_ENDS)
			return NULL;
	}
}

const char *inflate(struct input *in, struct output *out)
{
	struct decoder decoder, *d = &decoder;
	decoder.in = in;
	decoder.out = out;
	decoder.bits = 0;
	decoder.count = decoder.beyond = 0;
	for (unsigned last = 0; !last;) {
		last = take_bits(d, 1);
		unsigned type = take_bits(d, 2);
		if (is_cut(d))
			return cut;
		const char *wrong = type == 0 ? copy_stored(d)
			: type == 1           ? read_fixed(d)
			: type == 2           ? read_dynamic(d)
					      : damaged;
		if (!wrong && type != 0)
			wrong = decode_block(d);
		if (wrong)
			return wrong;
	}
	give_back(d);
	return NULL;
}

/* Tables of Huffman codes for inflate.c. */
#ifndef TSB_INFLATE_TABLE_H
#define TSB_INFLATE_TABLE_H
#include <stdint.h>

/*
 * An entry: the length of the code (8 bits), extra bits that follow it, or bits of the subtable (8 bits), and a value:
 * a literal, the base of a length or distance, the place of a subtable. Flags tell which; 0 is no code.
 */
#define ENTRY_LITERAL 0x8000U
#define ENTRY_END 0x4000U
#define ENTRY_SUBTABLE 0x2000U
#define ENTRY_BASE 0x1000U
#define ENTRY_FLAGS 0xf000U

#define LITERAL_BITS 11
#define DISTANCE_BITS 8
/* Most entries, subtables included (zlib's examples/enough.c: 288 symbols, root 11, 15 bits; 32 symbols, root 8). */
#define LITERAL_ENTRIES 2400
#define DISTANCE_ENTRIES 512

struct entry_table {
	uint32_t *entries;
	uint32_t room;
	unsigned bits;
};

/*
 * From lengths of codes (0: none) and what each symbol means. 0 where the lengths make no code: too many, or too few;
 * but a single code of one bit, or none at all, will do where it `may_be_incomplete`.
 */
int make_table(struct entry_table *table, const uint8_t *lengths, const uint32_t *meanings, unsigned count, int may_be_incomplete);

#endif

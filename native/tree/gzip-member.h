/* The members of our gzip streams (compress-gzip.c writes them): 1 MiB of input each, and their size in their head. */
#ifndef TSB_GZIP_MEMBER_H
#define TSB_GZIP_MEMBER_H

#define GZIP_BLOCK (1U << 20)
/* Ten bytes, the length of the extra field, its subfield "TB" with the size of the whole member. */
#define GZIP_HEAD 20
/* CRC-32 and size of the input. */
#define GZIP_TAIL 8

#endif

/*
 * Headers of layers: the bytes that src/layer/tar-header.ts makes, which says why they are as they are.
 * ustar, preceded by a PAX header only where a value does not fit.
 */
#ifndef TSB_TAR_WRITE_H
#define TSB_TAR_WRITE_H
#include <stddef.h>
#include <stdint.h>

#define TAR_BLOCK 512
/* Two zero blocks. */
#define TAR_END 1024
/* Of a name, a directory's with its '/': no reader of layers takes longer ones (tar-read.h). */
#define TAR_LONGEST_NAME 4096

struct tar_entry {
	const char *path; /* without the '/' of a directory; not ended by NUL */
	size_t path_length;
	const char *link;
	size_t link_length;
	const uint8_t *capability;
	size_t capability_length;
	char type; /* '0' to '6' */
	uint32_t mode, uid, gid;
	uint64_t size;
	int64_t mtime;
	uint32_t major, minor;
};

/* Bytes that tar_header() writes. */
size_t tar_header_size(const struct tar_entry *entry);
void tar_header(const struct tar_entry *entry, uint8_t *to);

static inline uint64_t tar_padding(uint64_t size)
{
	return (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK;
}

#endif

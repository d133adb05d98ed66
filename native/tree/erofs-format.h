/*
 * EROFS on disk, as far as we write it: uncompressed, blocks of 512 bytes, file data on extra devices.
 *
 * Spec: kernel Documentation/filesystems/erofs.rst; the numbers are those of Linux 6.4 and later.
 */
#ifndef TSB_EROFS_FORMAT_H
#define TSB_EROFS_FORMAT_H
#include <stdint.h>

#define EROFS_MAGIC 0xe0f5e1e2u
#define EROFS_BLOCK_BITS 9
#define EROFS_BLOCK ((uint64_t)1 << EROFS_BLOCK_BITS)
#define EROFS_SUPER_AT 1024
/* Inodes are numbered by where they lie, in units of this. */
#define EROFS_SLOT 32

#define EROFS_COMPAT_MTIME 2
#define EROFS_INCOMPAT_DEVICE_TABLE 8

/* All little-endian, as every machine that we build on is. */
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "on-disk numbers would have to be swapped"
#endif

struct erofs_super {
	uint32_t magic, checksum, compat;
	uint8_t block_bits, extra_slots;
	uint16_t root;
	uint64_t inodes;
	uint64_t time; /* of inodes in the compact form */
	uint32_t time_nsec;
	uint32_t blocks;
	uint32_t inode_block, xattr_block; /* where these areas begin */
	uint8_t uuid[16], name[16];
	uint32_t incompat;
	uint16_t algorithms, devices;
	uint16_t device_slot; /* of the device table, in units of its entries */
	uint8_t directory_bits, prefixes;
	uint32_t prefix_start;
	uint64_t packed;
	uint8_t rest[24];
};

struct erofs_device {
	uint8_t tag[64];
	uint32_t blocks;
	uint32_t address; /* of its first block among those of the whole file system */
	uint8_t rest[56];
};

enum { EROFS_PLAIN = 0, EROFS_INLINE = 2 }; /* data in blocks, data behind the inode */
#define EROFS_FORMAT(extended, layout) ((uint16_t)((extended) | (layout) << 1))

struct erofs_compact {
	uint16_t format, xattr_units, mode, links;
	uint32_t size, zero;
	uint32_t data; /* first block, or a device's number */
	uint32_t serial;
	uint16_t uid, gid;
	uint32_t rest;
};

struct erofs_extended {
	uint16_t format, xattr_units, mode, zero;
	uint64_t size;
	uint32_t data, serial, uid, gid;
	uint64_t time;
	uint32_t time_nsec, links;
	uint8_t rest[16];
};

/* In front of an inode's own attributes: the numbers of those that it shares come first. */
struct erofs_xattrs {
	uint32_t filter;
	uint8_t shared, rest[7];
};

struct erofs_xattr {
	uint8_t name_size, prefix;
	uint16_t size;
};

struct __attribute__((packed)) erofs_dirent {
	uint64_t inode;
	uint16_t name_at;
	uint8_t type, zero;
};

_Static_assert(sizeof(struct erofs_super) == 128, "the superblock's size");
_Static_assert(sizeof(struct erofs_device) == 128, "a device's size");
_Static_assert(sizeof(struct erofs_compact) == 32, "a compact inode's size");
_Static_assert(sizeof(struct erofs_extended) == 64, "an extended inode's size");
_Static_assert(sizeof(struct erofs_xattrs) == 12, "the size of an inode's attributes' header");
_Static_assert(sizeof(struct erofs_dirent) == 12, "a directory entry's size");

#endif

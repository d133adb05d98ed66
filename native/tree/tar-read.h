/*
 * The reader of tars from outside: layers, archives of ADD, imports. Every archive is hostile until read.
 *
 * v7, ustar, PAX (raw bytes, so binary xattrs survive), GNU long names and base-256 numbers. Sparse files are refused,
 * with an errno of their own (TAR_IS_SPARSE): their contents are not in one piece.
 * Names come out relative, clean and confined: `..` cannot climb above the root, absolute names start at the root.
 * Memory is bounded, nothing of an archive is trusted for allocation. What it refuses ends the job: fail(EBADMSG).
 * ../../src/layer/tar-reader.ts reads the same archives in the same way, word for word in its errors.
 *
 * Spec: POSIX.1-2017, pax; GNU tar manual, "Basic Tar Format".
 */
#ifndef TSB_TAR_READ_H
#define TSB_TAR_READ_H
#include "sha256.h"
#include <stddef.h>
#include <stdint.h>

#define TAR_BLOCK 512
/* Linux takes no longer paths, so no archive needs them. */
#define TAR_MAX_PATH 4096

enum tar_type { TAR_FILE, TAR_HARDLINK, TAR_SYMLINK, TAR_CHAR, TAR_BLOCK_DEVICE, TAR_DIRECTORY, TAR_FIFO };

/* As the archive has it: no NUL at the end, the value may hold some. */
struct tar_xattr {
	const char *name;
	const uint8_t *value;
	uint32_t name_size, size;
};

/* Valid until the next one is asked for. */
struct tar_entry {
	enum tar_type type;
	const char *path; /* confined, "" is the root; path_size bytes and a NUL, none before */
	const char *link; /* target of a symlink as it is, confined path of a hard link; else "" */
	uint32_t path_size, link_size;
	uint32_t mode;                  /* 07777 */
	int64_t uid, gid, major, minor; /* as stated: whoever applies them refuses what Linux does not have */
	int64_t mtime;                  /* seconds, towards the past */
	uint64_t size;                  /* of content, 0 unless it is a file */
	uint64_t offset;                /* of the content in the archive, a multiple of TAR_BLOCK */
	const struct tar_xattr *xattrs; /* in the archive's order: of several with one name the last counts */
	uint32_t xattr_count;
};

struct tar_reader;

/* From where `fd` stands, which stays the caller's. `hash` (or NULL) gets every byte of it, unbegun and unended. */
struct tar_reader *tar_open(int fd, struct sha256 *hash);
void tar_close(struct tar_reader *t);

/* 1 and the next entry, what is left of the one before skipped; 0 at the end, when all has been read for the hash. */
int tar_next(struct tar_reader *t, struct tar_entry *entry);
/* Some more of the entry's content, 0 when that is complete. The bytes are valid until the next call. */
size_t tar_content(struct tar_reader *t, const uint8_t **bytes);

/* Confines a path in place; returns its size. */
size_t tar_confine(char *path);
/* Whether layers keep it: security.capability and user.*, but nothing that overlayfs gives a meaning. */
int tar_keeps_xattr(const char *name, size_t size);
/* Text for an error message, as JSON writes it, cut where it is long; into `room` bytes (16 or more), which are returned. */
const char *tar_quoted(const char *text, size_t size, char *out, size_t room);

#endif

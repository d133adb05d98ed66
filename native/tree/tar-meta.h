/* What extended headers say of the entry that follows them. */
#ifndef TSB_TAR_META_H
#define TSB_TAR_META_H
#include "tar-read.h"

enum { META_PATH = 1, META_LINK = 2, META_SIZE = 4, META_UID = 8, META_GID = 16, META_MTIME = 32 };

/* Bytes of our own, reused. */
struct tar_bytes {
	uint8_t *at;
	size_t size, room;
};

struct tar_meta {
	uint32_t said; /* META_* */
	struct tar_bytes path, link;
	int64_t size, uid, gid, mtime;
	struct tar_bytes xattr_body, spare; /* the header that the xattrs lie in; the next one that has any */
	struct tar_xattr *xattrs;
	uint32_t xattr_count, xattr_room;
};

/* Nothing is said; memory is kept. */
void meta_clear(struct tar_meta *meta);
void meta_free(struct tar_meta *meta);
/* The body of a PAX header; of a GNU long name (L) or link (K). */
void meta_pax(struct tar_meta *meta, const uint8_t *body, size_t size);
void meta_long(struct tar_meta *meta, char flag, const uint8_t *body, size_t size);

/* A number of a header block: octal, or base-256 where the first bit is set. */
int64_t tar_number(const uint8_t *field, size_t size);
#define TAR_MAX_NUMBER ((int64_t)1 << 53)

/* An errno of its own, which no file system has: whoever fills holes can read the archive all the same. */
#define TAR_IS_SPARSE EPROTONOSUPPORT
_Noreturn void tar_refuse_sparse(void);
_Noreturn void tar_refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif

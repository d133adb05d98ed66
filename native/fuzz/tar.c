/* An archive: whatever is accepted keeps what the reader promises, and is the same with a hash as without. */
#include "fuzz.h"
#include "tree-stand-in.h"
#include "../tree/tar-read.h"

static void check_name(const char *name, uint32_t size)
{
	if (strlen(name) != size || size > TAR_MAX_PATH)
		abort();
}

/* Relative, clean, and nothing that climbs. */
static void check_path(const char *path, uint32_t size)
{
	check_name(path, size);
	if (size > 0 && (path[0] == '/' || path[size - 1] == '/'))
		abort();
	for (const char *at = path; *at;) {
		size_t length = strcspn(at, "/");
		if (length == 0 || (length == 1 && at[0] == '.') || (length == 2 && at[0] == '.' && at[1] == '.'))
			abort();
		at += length + (at[length] == '/');
	}
}

static uint64_t sum_of(const uint8_t *bytes, size_t size)
{
	uint64_t sum = size;
	for (size_t i = 0; i < size; i++)
		sum = sum * 31 + bytes[i];
	return sum;
}

static uint64_t check(const struct tar_entry *e)
{
	char quoted[64];
	check_path(e->path, e->path_size);
	if (e->type == TAR_HARDLINK)
		check_path(e->link, e->link_size);
	else
		check_name(e->link, e->link_size);
	if (e->offset % TAR_BLOCK || e->mode & ~07777u || (e->size > 0 && e->type != TAR_FILE))
		abort();
	if (strlen(tar_quoted(e->path, e->path_size, quoted, sizeof quoted)) >= sizeof quoted)
		abort();
	uint64_t sum = sum_of((const uint8_t *)e->path, e->path_size) + sum_of((const uint8_t *)e->link, e->link_size);
	for (uint32_t i = 0; i < e->xattr_count; i++)
		sum += sum_of(e->xattrs[i].value, e->xattrs[i].size) + sum_of((const uint8_t *)e->xattrs[i].name, e->xattrs[i].name_size) +
		       (uint64_t)tar_keeps_xattr(e->xattrs[i].name, e->xattrs[i].name_size);
	return sum + e->offset + e->size + (uint64_t)e->mtime + (uint64_t)e->uid;
}

static struct tar_reader *volatile reading;

static uint64_t read_all(const uint8_t *bytes, size_t size, struct sha256 *hash)
{
	volatile uint64_t sum = 0;
	int fd = file_of(bytes, size);
	refusal[0] = 0;
	reading = NULL;
	if (setjmp(refused) == 0) {
		struct tar_entry entry;
		const uint8_t *content;
		reading = tar_open(fd, hash);
		while (tar_next(reading, &entry)) {
			sum = sum * 31 + check(&entry);
			/* Every second one is skipped, as far as one reader is concerned. */
			if (hash || entry.offset % 1024 == 0)
				while (tar_content(reading, &content) > 0)
					;
		}
	}
	if (reading)
		tar_close(reading);
	close(fd);
	return sum + sum_of((const uint8_t *)refusal, strlen(refusal));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct sha256 hash;
	sha256_begin(&hash);
	uint64_t whole = read_all(bytes, size, &hash);
	if (refusal[0] == 0 && hash.size != size)
		abort();
	if (whole != read_all(bytes, size, NULL))
		abort();
	return 0;
}

#include "tar-mutate.h"

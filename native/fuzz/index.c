/*
 * From archives to an image: one layer, and the same bytes cut into two layers that are merged. Whatever is accepted
 * makes an image in which the kernel finds its way: every name leads to an inode, names are sorted, contents lie in the
 * archive.
 */
#include "fuzz.h"
#include "tree-stand-in.h"
#include "../tree/erofs-format.h"
#include "../tree/erofs-write.h"
#include "../tree/layer-apply.h"

void below_is_needed(void)
{
	abort();
}

void write_all(int fd, const void *bytes, size_t size, const char *what)
{
	(void)what;
	if (write(fd, bytes, size) != (ssize_t)size)
		abort();
}

struct image {
	const uint8_t *bytes;
	size_t size;
	const struct erofs_super *super;
	uint64_t archive; /* its blocks */
	uint64_t address;
	uint32_t depth, met;
};

struct found {
	uint16_t mode, units;
	uint64_t size;
	uint32_t data, links;
	int is_inline;
	const uint8_t *behind; /* attributes, then what is inline */
};

static const uint8_t *at(const struct image *im, uint64_t offset, uint64_t size)
{
	if (offset > im->size || size > im->size - offset)
		abort();
	return im->bytes + offset;
}

static struct found inode_at(const struct image *im, uint64_t number)
{
	struct found f;
	uint64_t offset = im->super->inode_block * EROFS_BLOCK + number * EROFS_SLOT;
	struct erofs_compact compact;
	struct erofs_extended extended;
	memcpy(&compact, at(im, offset, sizeof compact), sizeof compact);
	f.units = compact.xattr_units;
	f.mode = compact.mode;
	f.data = compact.data;
	f.is_inline = compact.format >> 1 == EROFS_INLINE;
	f.size = compact.size;
	f.links = compact.links;
	offset += sizeof compact;
	if (compact.format & 1) {
		offset -= sizeof compact;
		memcpy(&extended, at(im, offset, sizeof extended), sizeof extended);
		f.size = extended.size;
		f.data = extended.data;
		f.links = extended.links;
		offset += sizeof extended;
	}
	f.behind = at(im, offset, f.units ? sizeof(struct erofs_xattrs) + 4u * (f.units - 1u) : 0);
	if (f.is_inline) {
		uint64_t start = (uint64_t)(f.behind - im->bytes) + (f.units ? sizeof(struct erofs_xattrs) + 4u * (f.units - 1u) : 0);
		if (start / EROFS_BLOCK != (start + f.size - 1) / EROFS_BLOCK)
			abort();
		f.behind = at(im, start, f.size);
	} else if (S_ISDIR(f.mode) || S_ISLNK(f.mode))
		f.behind = at(im, f.data * EROFS_BLOCK, f.size);
	if (f.links == 0 || f.size == 0) {
		if (f.links == 0 || S_ISDIR(f.mode) || S_ISLNK(f.mode))
			abort();
	}
	return f;
}

static void check_inode(struct image *im, uint64_t number);

static void check_block(struct image *im, const uint8_t *block, size_t size, char *before, int is_dots)
{
	struct erofs_dirent first, entry, next;
	memcpy(&first, block, sizeof first);
	uint32_t count = first.name_at / sizeof first;
	if (count == 0 || count * sizeof first != first.name_at || first.name_at > size)
		abort();
	for (uint32_t i = 0; i < count; i++) {
		memcpy(&entry, block + i * sizeof entry, sizeof entry);
		if (i + 1 < count)
			memcpy(&next, block + (i + 1) * sizeof next, sizeof next);
		size_t end = i + 1 < count ? next.name_at : entry.name_at + strnlen((const char *)block + entry.name_at, size - entry.name_at);
		char name[256] = "";
		if (end <= entry.name_at || end > size || end - entry.name_at > 255)
			abort();
		memcpy(name, block + entry.name_at, end - entry.name_at);
		if (strlen(name) != end - entry.name_at || strchr(name, '/') || strcmp(before, name) >= 0)
			abort();
		strcpy(before, name);
		struct found f = inode_at(im, entry.inode);
		static const uint8_t types[] = { [S_IFDIR >> 12] = 2, [S_IFCHR >> 12] = 3, [S_IFBLK >> 12] = 4, [S_IFIFO >> 12] = 5, [S_IFLNK >> 12] = 7, [S_IFREG >> 12] = 1 };
		if (entry.type != types[(f.mode & S_IFMT) >> 12])
			abort();
		if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
			check_inode(im, entry.inode);
		else if (!is_dots)
			abort();
	}
}

static void check_inode(struct image *im, uint64_t number)
{
	struct found f = inode_at(im, number);
	char before[256] = "";
	im->met++;
	if (S_ISREG(f.mode) && f.size > 0) {
		uint64_t blocks = (f.size + EROFS_BLOCK - 1) / EROFS_BLOCK;
		if (f.data < im->address || blocks > im->archive || f.data - im->address > im->archive - blocks)
			abort();
	}
	if (!S_ISDIR(f.mode) || ++im->depth > TAR_MAX_PATH)
		return;
	for (uint64_t offset = 0; offset < f.size; offset += EROFS_BLOCK)
		check_block(im, f.behind + offset, f.size - offset < EROFS_BLOCK ? f.size - offset : EROFS_BLOCK, before, 1);
	im->depth--;
}

static void check_image(int fd, uint64_t archive)
{
	off_t size = lseek(fd, 0, SEEK_END);
	uint8_t *bytes = malloc((size_t)size);
	struct erofs_super super;
	struct erofs_device device;
	if (size < EROFS_SUPER_AT || size % EROFS_BLOCK || pread(fd, bytes, (size_t)size, 0) != size)
		abort();
	memcpy(&super, bytes + EROFS_SUPER_AT, sizeof super);
	memcpy(&device, bytes + super.device_slot * sizeof device, sizeof device);
	if (super.blocks != size / EROFS_BLOCK || device.address < super.blocks || device.blocks != archive)
		abort();
	struct image im = { bytes, (size_t)size, &super, archive, device.address, 0, 0 };
	check_inode(&im, super.root);
	if (im.met < super.inodes)
		abort();
	free(bytes);
}

static struct layer_tree tree, layer;
static struct tar_reader *volatile reading;

static void read_into(struct layer_tree *into, uint32_t root, struct below below, const uint8_t *bytes, size_t size)
{
	static struct layer l;
	struct tar_entry entry;
	int fd = file_of(bytes, size);
	reading = tar_open(fd, NULL);
	layer_begin(&l, into, root, below, 0);
	while (tar_next(reading, &entry))
		layer_add(&l, &entry);
	layer_end(&l);
	tar_close(reading);
	reading = NULL;
	close(fd);
}

static void write_and_check(uint32_t root, size_t size)
{
	struct erofs_source source = { .size = size };
	int fd = file_of(NULL, 0);
	erofs_write(fd, &tree, root, &source, 1);
	check_image(fd, size / EROFS_BLOCK);
	close(fd);
}

static const struct inode directory = { .mode = S_IFDIR | 0755 };

static void one(const uint8_t *bytes, size_t size)
{
	uint32_t root = tree_new_root(&tree, directory);
	read_into(&tree, root, (struct below){ .kind = BELOW_NOTHING }, bytes, size);
	write_and_check(root, size);
}

static void merged(const uint8_t *bytes, size_t size, size_t cut)
{
	const uint8_t *parts[] = { bytes, bytes + cut };
	const size_t sizes[] = { cut, size - cut };
	uint32_t root = tree_new_root(&tree, directory);
	for (int i = 0; i < 2; i++) {
		tree_open(&layer);
		uint32_t top = tree_new_root(&layer, directory);
		read_into(&layer, top, (struct below){ .kind = BELOW_TREE, .tree = &tree, .root = root }, parts[i], sizes[i]);
		layer_merge(&tree, root, &layer, top);
		tree_close(&layer);
	}
	/* Contents of the second are numbered as in the first; both lie in the whole. */
	write_and_check(root, size);
}

static void attempt(const uint8_t *bytes, size_t size, size_t cut)
{
	reading = NULL;
	tree_open(&tree);
	if (setjmp(refused) == 0) {
		if (cut)
			merged(bytes, size, cut);
		else
			one(bytes, size);
	} else if (reading)
		tar_close(reading);
	tree_close(&tree);
	if (layer.nodes)
		tree_close(&layer);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	attempt(bytes, size, 0);
	if (size >= 2 * TAR_BLOCK)
		attempt(bytes, size, size / 2 / TAR_BLOCK * TAR_BLOCK);
	/* Files that were open when a refusal came. */
	close_range(3, 64, 0);
	return 0;
}

#include "tar-mutate.h"

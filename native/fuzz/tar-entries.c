/* Says what the reader sees in the archive on standard input (entries end with ";", what is broken off does not), for the test that holds it against tar-reader.ts. */
#include "tree-stand-in.h"
#include "../tree/tar-read.h"

static void hex(const void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		printf("%02x", ((const uint8_t *)bytes)[i]);
	putchar(' ');
}

int main(void)
{
	if (setjmp(refused) == 0) {
		struct tar_entry e;
		const uint8_t *bytes;
		struct tar_reader *t = tar_open(0, NULL);
		while (tar_next(t, &e)) {
			printf("%d ", e.type);
			hex(e.path, e.path_size);
			hex(e.link, e.link_size);
			printf("%o %lld %lld %lld %lld %lld %llu ", e.mode, (long long)e.uid, (long long)e.gid, (long long)e.major,
			       (long long)e.minor, (long long)e.mtime, (unsigned long long)e.size);
			for (uint32_t i = 0; i < e.xattr_count; i++) {
				hex(e.xattrs[i].name, e.xattrs[i].name_size);
				hex(e.xattrs[i].value, e.xattrs[i].size);
			}
			putchar('=');
			for (size_t n; (n = tar_content(t, &bytes)) > 0;)
				for (size_t i = 0; i < n; i++)
					printf("%02x", bytes[i]);
			puts(";");
		}
		tar_close(t);
	} else
		printf("\nrefused: %s\n", refusal);
	return 0;
}

#include "log.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* `<timestamp> stdout F ` */
#define HEAD_SIZE (TIMESTAMP_SIZE + 10)

static struct {
	int directory, fd;
	uint64_t size, max_size;
	uint32_t max_files;
} file = { -1, -1, 0, 0, 0 };

static struct {
	uint8_t bytes[LOG_LINE];
	size_t size;
} unfinished[2];

/* Days since 1970-01-01 to a date of the Gregorian calendar; eras of 400 years that begin in March. */
static void date_of(int64_t days, int *year, int *month, int *day)
{
	int64_t z = days + 719468, era = z / 146097, of_era = z - era * 146097;
	int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * y + y / 4 - y / 100), m = (5 * of_year + 2) / 153;
	*day = (int)(of_year - (153 * m + 2) / 5 + 1);
	*month = (int)(m < 10 ? m + 3 : m - 9);
	*year = (int)(y + era * 400 + (*month <= 2));
}

/* why not gmtime_r: glibc's reads the time zone first, which allocates and opens files. */
void format_now(char text[TIMESTAMP_SIZE])
{
	struct timespec now;
	int year, month, day;
	clock_gettime(CLOCK_REALTIME, &now);
	int64_t seconds = now.tv_sec % 86400;
	date_of(now.tv_sec / 86400, &year, &month, &day);
	snprintf(text, TIMESTAMP_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d.%09dZ", year % 10000, month % 100, day % 100,
		 (int)(seconds / 3600), (int)(seconds / 60 % 60), (int)(seconds % 60), (int)((unsigned)now.tv_nsec % 1000000000u));
}

static int open_current(int flags)
{
	struct stat st;
	if (file.fd >= 0)
		close(file.fd);
	file.fd = openat(file.directory, "log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
	if (file.fd < 0 || fstat(file.fd, &st) < 0)
		return -1;
	file.size = (uint64_t)st.st_size;
	return 0;
}

int log_open(int directory, uint64_t max_size, uint32_t max_files)
{
	file.directory = directory;
	file.max_size = max_size;
	file.max_files = max_files;
	return open_current(0);
}

static void rotate(void)
{
	char from[24], to[24];
	for (uint32_t n = file.max_files - 1; n > 0; n--) {
		snprintf(to, sizeof to, "log.%u", n);
		if (n > 1)
			snprintf(from, sizeof from, "log.%u", n - 1);
		else
			strcpy(from, "log");
		renameat(file.directory, from, file.directory, to);
	}
	open_current(file.max_files == 1 ? O_TRUNC : 0);
}

static void write_entry(const char *head, size_t head_size, const uint8_t *text, size_t size)
{
	struct iovec parts[3] = {
		{ (void *)(uintptr_t)head, head_size },
		{ (void *)(uintptr_t)text, size },
		{ (void *)(uintptr_t)"\n", 1 },
	};
	size_t whole = head_size + size + 1;
	if (file.max_size > 0 && file.size > 0 && file.size + whole > file.max_size)
		rotate();
	ssize_t n = writev(file.fd, parts, 3);
	if (n > 0)
		file.size += (size_t)n;
	/* Half an entry would spoil the next one. */
	if (n > 0 && (size_t)n < whole && ftruncate(file.fd, (off_t)(file.size - (size_t)n)) == 0)
		file.size -= (size_t)n;
}

/* One piece of a line, joined with what waited for it. */
static void add(int stream, const char *stamp, const uint8_t *bytes, size_t size, int is_end)
{
	size_t *had = &unfinished[stream - 1].size;
	uint8_t *buffer = unfinished[stream - 1].bytes;
	char head[HEAD_SIZE];
	if (!is_end && *had + size < LOG_LINE) {
		memcpy(buffer + *had, bytes, size);
		*had += size;
		return;
	}
	int n = snprintf(head, sizeof head, "%s %s %c ", stamp, stream == 1 ? "stdout" : "stderr", is_end ? 'F' : 'P');
	if (*had == 0) {
		write_entry(head, (size_t)n, bytes, size);
		return;
	}
	/* The caller never gives more than fits. */
	memcpy(buffer + *had, bytes, size);
	write_entry(head, (size_t)n, buffer, *had + size);
	*had = 0;
}

void log_write(int stream, const uint8_t *bytes, size_t size)
{
	char stamp[TIMESTAMP_SIZE];
	format_now(stamp);
	while (size > 0 && file.fd >= 0) {
		const uint8_t *newline = memchr(bytes, '\n', size);
		size_t length = newline ? (size_t)(newline - bytes) : size, room = LOG_LINE - unfinished[stream - 1].size;
		int fits = length <= room;
		add(stream, stamp, bytes, fits ? length : room, fits && newline != NULL);
		size_t used = fits ? length + (newline != NULL) : room;
		bytes += used;
		size -= used;
	}
}

void log_flush(void)
{
	char stamp[TIMESTAMP_SIZE], head[HEAD_SIZE];
	format_now(stamp);
	for (int stream = 1; stream <= 2; stream++) {
		size_t size = unfinished[stream - 1].size;
		if (size == 0 || file.fd < 0)
			continue;
		int n = snprintf(head, sizeof head, "%s %s P ", stamp, stream == 1 ? "stdout" : "stderr");
		write_entry(head, (size_t)n, unfinished[stream - 1].bytes, size);
		unfinished[stream - 1].size = 0;
	}
}

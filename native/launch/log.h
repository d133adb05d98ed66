/*
 * The log of a container: lines `<RFC 3339, UTC, nanoseconds> stdout|stderr F|P <text>`. P says that the line goes
 * on in the stream's next entry: lines longer than LOG_LINE are cut, and the last one may lack its end.
 *
 * Format: Kubernetes' CRI logs (CRI-O, containerd). Bounded: `log` becomes `log.1`, `log.2`, … and goes away.
 */
#ifndef TSB_LOG_H
#define TSB_LOG_H
#include <stddef.h>
#include <stdint.h>

#define LOG_LINE 16384
#define TIMESTAMP_SIZE 40

/* 0, or -1 with errno. `directory` stays the caller's. */
int log_open(int directory, uint64_t max_size, uint32_t max_files);
/* Errors (a full disk) lose lines and nothing else. `stream`: 1 or 2. */
void log_write(int stream, const uint8_t *bytes, size_t size);
/* What has no end of line yet is written as it is. */
void log_flush(void);

/* `2020-01-01T00:00:00.000000000Z` of now. */
void format_now(char text[TIMESTAMP_SIZE]);

#endif

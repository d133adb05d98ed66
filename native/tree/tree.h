/*
 * tsbuild-tree: loops over the files of a tree, or over the bytes of a layer, one call each (started by ../tree.ts).
 *
 *   tsbuild-tree JOB    the request on fd 3, until its end; answers as frames on fd 4 (as launch/frames.h)
 *
 * What a job may touch are the descriptors that it was given, from FIRST_FD on, and what lies beneath those that are
 * directories: Landlock holds the whole process to that. A job ends with done() or fail(), once.
 */
#ifndef TSB_TREE_H
#define TSB_TREE_H
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#define FIRST_FD 5

enum answer {
	ANSWER_DONE = 1,     /* what the job promises */
	ANSWER_FAILED = 2,   /* u32 errno (0: the text says all), text */
	ANSWER_PROGRESS = 3, /* u64 bytes so far */
	ANSWER_DATA = 4,     /* what the job promises, any number of them */
};

/* The request, read from the front; a read past its end sets `bad` and gives zeros, so check once at the end. */
struct request {
	const uint8_t *at, *end;
	int bad;
};

uint32_t take_u32(struct request *r);
uint64_t take_u64(struct request *r);
/* u32 length and bytes; the bytes lie in the request and are followed by no NUL. */
const uint8_t *take_bytes(struct request *r, uint32_t *size);
/* As take_bytes, for text of at most `max` bytes without NUL inside; a copy of its own, NULL where it is bad. */
char *take_string(struct request *r, uint32_t max);

/* May be called by several threads; a frame is never torn. */
void answer(enum answer type, const void *payload, size_t size);
_Noreturn void done(const void *payload, size_t size);
/* `error` is an errno or 0; the text is what was done, or the whole message. */
_Noreturn void fail(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Exactly `size` bytes; fail() where that is impossible. `what` is for the message. */
void write_all(int fd, const void *bytes, size_t size, const char *what);
void *allocate(size_t size);

/* Descriptors of the call: how many there are, and how many of them the job wants at least (else fail). */
int descriptors(int at_least);
/* As many as the machine has for us, at least 1. */
int processors(void);
void start_thread(pthread_t *thread, void *(*run)(void *), void *context);

typedef void job(struct request *r);
/* A line each, sorted: they come from several hands. */
job apply_job;
job compress_job;
job decompress_job;
job engines_job;
job hash_job;
job index_job;
job pack_job;
job walk_job;

#endif

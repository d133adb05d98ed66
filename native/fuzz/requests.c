/* Requests of the tree program: what shall be walked, and what shall be packed, up to where files are touched. */
#include "fuzz.h"
#include "tree-stand-in.h"
#include "../tree/pack-units.h"
#include "../tree/pack.h"
#include "../tree/walk.h"

#define DESCRIPTORS 3

/* why: a request that is refused leaves what was made of it so far, as the program does, which ends then. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

int descriptors(int at_least)
{
	if (DESCRIPTORS < at_least)
		fail(0, "descriptors");
	return DESCRIPTORS;
}

void answer(enum answer type, const void *payload, size_t size)
{
	(void)type;
	(void)payload;
	(void)size;
}

_Noreturn void done(const void *payload, size_t size)
{
	(void)payload;
	(void)size;
	longjmp(refused, 1);
}

static const uint8_t *start;
static size_t whole;

static void inside(const void *bytes, size_t size)
{
	const uint8_t *at = bytes;
	if (size > 0 && (at < start || size > whole || at > start + whole - size))
		abort();
}

/* As the walk would: everything that it was told to look for is read. */
void walk_all(struct walk *walk, void (*tell)(void *context, const uint8_t *records, size_t size), void *context)
{
	(void)tell;
	(void)context;
	for (uint32_t i = 0; i < walk->root_count; i++) {
		const struct walk_root *root = &walk->roots[i];
		if (root->fd < FIRST_FD || root->fd >= FIRST_FD + DESCRIPTORS)
			abort();
		inside(root->path, root->length);
		for (uint32_t k = 0; k < root->pruned_count; k++)
			inside(root->pruned[k].text, root->pruned[k].length);
		free((void *)root->pruned);
	}
	free((void *)walk->roots);
}

/* As the threads do, from the front of every unit. */
struct packed pack(const struct pack_plan *plan, struct request entries, int out, const struct pack_listener *listener)
{
	(void)listener;
	/* All of what the earlier tar's checkpoints are said to be, and the digests, can be read. */
	uint8_t *checkpoints = malloc(plan->earlier.count * sizeof(struct checkpoint) + 1);
	if (plan->earlier.count > 0)
		memcpy(checkpoints, plan->earlier.checkpoints, plan->earlier.count * sizeof(struct checkpoint));
	free(checkpoints);
	if (plan->earlier.count > 0 && plan->earlier.descriptor >= plan->descriptor_count)
		abort();
	/* What was made of blocks. */
	start = entries.at;
	whole = (size_t)(entries.end - entries.at);
	struct units units = cut_into_units(plan, entries, out < 0);
	uint64_t sum = 0;
	for (size_t i = 0; i < units.count; i++) {
		struct unit *unit = &units.all[i];
		struct plan_reader reader = { .plan = plan, .rest = unit->at, .path = malloc(PLAN_MAX_PATH), .path_length = unit->path_length };
		memcpy(reader.path, unit->path, unit->path_length);
		sum += unit->size;
		for (uint32_t k = 0; k < unit->count; k++) {
			struct planned planned;
			if (plan_next(&reader, &planned) < 0 || planned.tar.path_length == 0)
				abort();
			inside(planned.tar.link_length ? planned.tar.link : (const char *)start, planned.tar.link_length);
			inside(planned.tar.capability, planned.tar.capability_length);
			if (planned.digest)
				inside(planned.digest, SHA256_SIZE);
			if (planned.source == SOURCE_INLINE)
				inside(planned.bytes, planned.tar.size);
			if (planned.source == SOURCE_FILE && planned.from >= plan->root_count)
				abort();
			if (out < 0)
				continue;
			size_t room = tar_header_size(&planned.tar);
			uint8_t *header = malloc(room);
			tar_header(&planned.tar, header);
			free(header);
		}
		free(reader.path);
		free(unit->path);
	}
	if (sum != units.size)
		abort();
	free(units.all);
	free(plan->roots);
	if (entries.at != entries.end)
		free((void *)start);
	return (struct packed){ .size = sum };
}

/* The first byte says which job. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	if (size == 0)
		return 0;
	whole = size - 1;
	uint8_t *copy = malloc(size);
	memcpy(copy, bytes + 1, whole);
	start = copy;
	struct request request = { copy, copy + whole, 0 };
	if (setjmp(refused) == 0) {
		if (bytes[0] % 2)
			pack_job(&request);
		else
			walk_job(&request);
	}
	free(copy);
	return 0;
}

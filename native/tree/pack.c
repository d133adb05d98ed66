#include "pack.h"
#include "pack-earlier.h"
#include "pack-hash.h"
#include "pack-slots.h"
#include "pack-source.h"
#include "sha256-lanes.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_READERS 32
#define SLOTS_EACH 2
/* Of 512 bytes: an eighth of a unit came from a disk. */
#define WAITED_BLOCKS (SLOT_SIZE / 8 / 512)
/* A block of gzip (gzip-member.h): less is of no use to who compresses it. */
#define TOLD_EVERY (1U << 20)

struct engine {
	const struct pack_plan *plan;
	struct units units;
	struct slots *slots;
	int out;
	uint64_t cloned; /* so much of the earlier tar is in `out` already, and shares its blocks */
	atomic_size_t next_unit;
	/* Those that were started, at most so many. */
	pthread_t readers[MAX_READERS];
	atomic_int reader_count;
	int most_readers;
};

/* A thread that reads, in the middle of a unit. */
struct filling {
	struct engine *engine;
	struct slot *slot;
	uint64_t number, offset;
	/* Larger than a slot, and in the earlier tar at the same place. */
	int is_same;
	struct source source;
	/* Of a unit in one slot: its contents are hashed together when all are there. */
	int is_whole;
	struct sha256_job jobs[UNIT_MAX_COUNT];
	size_t job_contents[UNIT_MAX_COUNT]; /* which of the slot's contents a job is for */
	size_t job_count;
};

static void write_slot(const struct filling *filling)
{
	const struct slot *slot = filling->slot;
	if (slot->is_same && filling->offset + slot->used <= filling->engine->cloned)
		return;
	for (size_t done = 0; done < slot->used;) {
		ssize_t n = pwrite(filling->engine->out, slot->bytes + done, slot->used - done,
				   (off_t)(filling->offset + done));
		if (n < 0 && errno != EINTR)
			fail(errno, "write the layer");
		if (n > 0)
			done += (size_t)n;
	}
}

static void end_slot(struct filling *filling)
{
	struct engine *engine = filling->engine;
	filling->slot->is_same |= filling->is_same;
	publish_slot(engine->slots, filling->slot);
	if (engine->out >= 0)
		write_slot(filling);
	filling->offset += filling->slot->used;
	leave_slot(engine->slots, filling->slot);
	filling->slot = NULL;
}

/* Where the next bytes go, and how many have room there. */
static uint8_t *room_in(struct filling *filling, size_t *room)
{
	if (filling->slot->used == SLOT_SIZE) {
		if (filling->engine->out < 0) {
			/* Nobody will look at what was read. */
			filling->slot->used = 0;
		} else {
			end_slot(filling);
			filling->slot = take_slot(filling->engine->slots, ++filling->number);
		}
	}
	*room = SLOT_SIZE - filling->slot->used;
	return filling->slot->bytes + filling->slot->used;
}

static void hash_later(struct filling *filling, const uint8_t *bytes, size_t size)
{
	filling->job_contents[filling->job_count] = filling->slot->contents.used / sizeof(struct packed_content);
	filling->jobs[filling->job_count++] = (struct sha256_job){ .bytes = bytes, .size = size };
}

static void hash_unit(struct filling *filling)
{
	struct packed_content *contents = (struct packed_content *)filling->slot->contents.data;
	for (size_t i = 0; i < filling->job_count; i++)
		filling->jobs[i].digest = contents[filling->job_contents[i]].digest;
	sha256_all(filling->jobs, filling->job_count);
	filling->job_count = 0;
}

static void fill_content(struct filling *filling, const struct planned *planned)
{
	struct sha256 hash;
	struct packed_content content = packed_content(planned, filling->offset + filling->slot->used);
	int hashes = planned->wants_digest && !filling->is_whole;
	if (planned->wants_digest && filling->is_whole)
		hash_later(filling, filling->slot->bytes + filling->slot->used, (size_t)planned->tar.size);
	if (hashes)
		sha256_begin(&hash);
	source_open(&filling->source, planned);
	for (uint64_t done = 0; done < planned->tar.size;) {
		size_t room;
		uint8_t *to = room_in(filling, &room);
		size_t part = planned->tar.size - done < room ? (size_t)(planned->tar.size - done) : room;
		source_read(&filling->source, planned, done, to, part);
		if (hashes)
			sha256_add(&hash, to, part);
		filling->slot->used += part;
		done += part;
	}
	source_close(&filling->source, planned);
	if (hashes)
		sha256_end(&hash, content.digest);
	memcpy(extend(&filling->slot->contents, sizeof content), &content, sizeof content);
}

static void fill_zeros(struct filling *filling, size_t size)
{
	while (size > 0) {
		size_t room;
		uint8_t *to = room_in(filling, &room);
		size_t part = size < room ? size : room;
		memset(to, 0, part);
		filling->slot->used += part;
		size -= part;
	}
}

static void fill_entry(struct filling *filling, const struct planned *planned)
{
	int writes = filling->engine->out >= 0;
	if (writes) {
		/* A unit begins a slot, and all of its headers fit into that. */
		tar_header(&planned->tar, filling->slot->bytes + filling->slot->used);
		filling->slot->used += tar_header_size(&planned->tar);
	}
	if (planned->source != SOURCE_NONE)
		fill_content(filling, planned);
	if (writes)
		fill_zeros(filling, tar_padding(planned->tar.size));
}

static void fill_unit(struct filling *filling, const struct unit *unit, char *path)
{
	struct plan_reader reader = { filling->engine->plan, unit->at, path, unit->path_length };
	filling->number = unit->first_slot;
	filling->offset = unit->offset;
	filling->slot = take_slot(filling->engine->slots, filling->number);
	int writes = filling->engine->out >= 0, fits = unit->size <= SLOT_SIZE;
	filling->is_whole = fits;
	filling->is_same = writes && !fits && is_in_earlier(reader.plan, unit, path);
	if (writes && fits && fill_from_earlier(reader.plan, unit, filling->slot, path)) {
		end_slot(filling);
		return;
	}
	memcpy(path, unit->path, unit->path_length);
	for (uint32_t i = 0; i < unit->count; i++) {
		struct planned planned;
		if (plan_next(&reader, &planned) < 0)
			fail(EINVAL, "the plan of a layer");
		fill_entry(filling, &planned);
	}
	hash_unit(filling);
	end_slot(filling);
}

static void *read_units(void *context);

/* Several may ask at a time. */
static void start_reader(struct engine *engine)
{
	int number = atomic_fetch_add(&engine->reader_count, 1);
	if (number < engine->most_readers)
		start_thread(&engine->readers[number], read_units, engine);
	else
		atomic_fetch_sub(&engine->reader_count, 1);
}

/* Whether this thread has waited for a disk since the last call; `blocks` is its own. */
static int has_waited(long *blocks)
{
	struct rusage usage;
	long before = *blocks;
	if (getrusage(RUSAGE_THREAD, &usage) < 0)
		return 0;
	*blocks = usage.ru_inblock;
	return usage.ru_inblock - before >= WAITED_BLOCKS;
}

/* why: a disk serves many readers at a time better than few, and whoever waits for it takes no processor. */
static void add_reader(struct engine *engine)
{
	if (atomic_load(&engine->reader_count) >= engine->most_readers)
		return;
	widen_slots(engine->slots, SLOTS_EACH);
	start_reader(engine);
}

static void *read_units(void *context)
{
	struct engine *engine = context;
	char *path = allocate(PLAN_MAX_PATH);
	struct filling filling = { .engine = engine };
	long blocks = 0;
	source_init(&filling.source, engine->plan);
	for (;;) {
		size_t next = atomic_fetch_add(&engine->next_unit, 1);
		if (next >= engine->units.count)
			break;
		fill_unit(&filling, &engine->units.all[next], path);
		if (has_waited(&blocks))
			add_reader(engine);
	}
	source_end(&filling.source);
	free(path);
	return NULL;
}

static void end_tar(int out, struct pack_hash *hash, struct packed *packed)
{
	static const uint8_t end[TAR_END];
	if (pwrite(out, end, sizeof end, (off_t)hash->at) != sizeof end)
		fail(errno, "write the layer");
	pack_hash_end(hash, end, sizeof end, packed->digest);
	packed->size = hash->at + sizeof end;
	/* A clone may be longer. */
	if (ftruncate(out, (off_t)packed->size) < 0)
		fail(errno, "write the layer");
	packed->checkpoints = hash->checkpoints;
}

/* Most of the tar lies in an earlier one. */
static int are_at_hand(const struct units *units)
{
	return units->ranges > units->size / 4 * 3;
}

/*
 * Where file systems share blocks (btrfs, XFS), the tar begins as the earlier one, and what is the same there is not written.
 * See ioctl_ficlone(2).
 */
static uint64_t clone_earlier(const struct engine *engine)
{
	const struct earlier_tar *earlier = &engine->plan->earlier;
	if (engine->out < 0 || earlier->count == 0 || !are_at_hand(&engine->units))
		return 0;
	struct stat st;
	int fd = engine->plan->first_fd + (int)earlier->descriptor;
	return fstat(fd, &st) == 0 && ioctl(engine->out, FICLONE, fd) == 0 ? (uint64_t)st.st_size : 0;
}

/*
 * Files are waited for one by one, so there are more readers than processors. why few for a tar that is at hand as a whole:
 * they have nothing to wait for, and take the processor from the one that hashes.
 */
static void start_readers(struct engine *engine)
{
	int at_once = are_at_hand(&engine->units) ? (processors() + 1) / 2 : 2 * processors();
	engine->most_readers = engine->units.count < MAX_READERS ? (int)engine->units.count : MAX_READERS;
	if (at_once > engine->most_readers)
		at_once = engine->most_readers;
	engine->slots = make_slots((size_t)(SLOTS_EACH * MAX_READERS + 2), (size_t)(SLOTS_EACH * at_once + 2));
	for (int i = 0; i < at_once; i++)
		start_reader(engine);
}

/* What a reader starts is counted before that reader ends. */
static void join_readers(struct engine *engine)
{
	for (int i = 0; i < atomic_load(&engine->reader_count); i++)
		pthread_join(engine->readers[i], NULL);
}

/* How much of the tar lies in its file: what was hashed may still be on its way there. */
struct settling {
	struct slots *slots;
	uint64_t *ends;	     /* of the slots in the ring, in the tar */
	uint64_t next, told; /* the first slot that has not settled; bytes */
};

static void settle(struct settling *settling, const struct pack_listener *listener, uint64_t number, uint64_t end)
{
	uint64_t settled = settling->told;
	settling->ends[number % settling->slots->count] = end;
	while (settling->next <= number && is_left(settling->slots, settling->next))
		settled = settling->ends[settling->next++ % settling->slots->count];
	if (settled - settling->told < TOLD_EVERY)
		return;
	settling->told = settled;
	listener->grown(listener->context, settled);
}

struct packed pack(const struct pack_plan *plan, struct request entries, int out, const struct pack_listener *listener)
{
	struct engine engine = { .plan = plan, .out = out, .units = cut_into_units(plan, entries, out < 0) };
	engine.cloned = clone_earlier(&engine);
	start_readers(&engine);
	struct pack_hash hash;
	struct packed packed = { 0 };
	pack_hash_begin(&hash, plan);
	struct settling settling = { .slots = engine.slots };
	if (listener->grown)
		settling.ends = allocate(engine.slots->count * sizeof *settling.ends);
	for (uint64_t number = 0; number < engine.units.slots; number++) {
		struct slot *slot = next_slot(engine.slots, number);
		if (out >= 0)
			pack_hash_slot(&hash, slot);
		listener->contents(listener->context, slot->contents.data, slot->contents.used);
		leave_slot(engine.slots, slot);
		if (listener->grown)
			settle(&settling, listener, number, hash.at);
	}
	join_readers(&engine);
	free(settling.ends);
	if (out >= 0)
		end_tar(out, &hash, &packed);
	return packed;
}

#include "sha256-lanes.h"
#include <string.h>

static void one_by_one(const struct sha256_job *jobs, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct sha256 s;
		sha256_begin(&s);
		sha256_add(&s, jobs[i].bytes, jobs[i].size);
		sha256_end(&s, jobs[i].digest);
	}
}

#if defined(__x86_64__)
#include <immintrin.h>

#define LANES 16
#define BLOCK 64
/* With fewer, one after the other by SHA-NI is as fast. */
#define FEW 5
#define AVX512 __attribute__((target("avx512f,avx512bw")))

/* A buffer on its way: first its whole blocks, then the end that SHA-256 puts to it. */
struct lane {
	const struct sha256_job *job; /* NULL: it is idle */
	const uint8_t *at;
	size_t blocks;
	int is_ending;
	uint8_t end[2 * BLOCK];
};

struct lanes {
	uint32_t state[8][LANES]; /* a row for each word of the state */
	struct lane all[LANES];
	const struct sha256_job *next, *last;
	size_t active;
};

static size_t make_end(struct lane *lane)
{
	size_t rest = lane->job->size % BLOCK, blocks = rest < BLOCK - 8 ? 1 : 2;
	uint64_t bits = (uint64_t)lane->job->size * 8;
	memset(lane->end, 0, sizeof lane->end);
	if (rest > 0)
		memcpy(lane->end, lane->job->bytes + lane->job->size - rest, rest);
	lane->end[rest] = 0x80;
	for (size_t i = 0; i < 8; i++)
		lane->end[blocks * BLOCK - 1 - i] = (uint8_t)(bits >> (8 * i));
	return blocks;
}

static void begin_end(struct lane *lane)
{
	lane->is_ending = 1;
	lane->at = lane->end;
	lane->blocks = make_end(lane);
}

static void take_job(struct lanes *lanes, size_t index)
{
	struct lane *lane = &lanes->all[index];
	if (lanes->next == lanes->last) {
		lane->job = NULL;
		lane->at = lane->end;
		return;
	}
	struct sha256 begun;
	sha256_begin(&begun);
	for (size_t i = 0; i < 8; i++)
		lanes->state[i][index] = begun.state[i];
	lane->job = lanes->next++;
	lane->at = lane->job->bytes;
	lane->blocks = lane->job->size / BLOCK;
	lane->is_ending = 0;
	lanes->active++;
	if (lane->blocks == 0)
		begin_end(lane);
}

static void finish(struct lanes *lanes, size_t index)
{
	for (size_t i = 0; i < 8; i++)
		for (size_t j = 0; j < 4; j++)
			lanes->all[index].job->digest[4 * i + j] = (uint8_t)(lanes->state[i][index] >> (24 - 8 * j));
	lanes->active--;
	take_job(lanes, index);
}

/* Sixteen words of each of sixteen rows become sixteen of each column. */
AVX512 static inline __attribute__((always_inline)) void transpose(__m512i r[LANES])
{
	__m512i t[LANES];
	for (int i = 0; i < LANES; i += 2) {
		t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
		t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
	}
	for (int i = 0; i < LANES; i += 4)
		for (int j = 0; j < 2; j++) {
			r[i + 2 * j] = _mm512_unpacklo_epi64(t[i + j], t[i + 2 + j]);
			r[i + 2 * j + 1] = _mm512_unpackhi_epi64(t[i + j], t[i + 2 + j]);
		}
	for (int i = 0; i < 4; i++) {
		t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
		t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
		t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
		t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
	}
	for (int i = 0; i < 4; i++) {
		r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
		r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
		r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
		r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
	}
}

#define ROR(x, n) _mm512_ror_epi32(x, n)
#define XOR3(a, b, c) _mm512_ternarylogic_epi32(a, b, c, 0x96)
#define ADD(a, b) _mm512_add_epi32(a, b)

AVX512 static void compress_block(__m512i state[8], const uint8_t *const at[LANES])
{
	const __m512i swap = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL));
	__m512i w[LANES], v[8];
	for (int i = 0; i < LANES; i++)
		w[i] = _mm512_loadu_si512(at[i]);
	transpose(w);
	for (int i = 0; i < LANES; i++)
		w[i] = _mm512_shuffle_epi8(w[i], swap);
	for (int i = 0; i < 8; i++)
		v[i] = state[i];
#pragma GCC unroll 64
	for (int i = 0; i < 64; i++) {
		__m512i a = v[(64 - i) & 7], b = v[(65 - i) & 7], c = v[(66 - i) & 7], d = v[(67 - i) & 7];
		__m512i e = v[(68 - i) & 7], f = v[(69 - i) & 7], g = v[(70 - i) & 7], h = v[(71 - i) & 7];
		if (i >= 16) {
			__m512i x = w[(i - 15) & 15], y = w[(i - 2) & 15];
			__m512i s0 = XOR3(ROR(x, 7), ROR(x, 18), _mm512_srli_epi32(x, 3));
			__m512i s1 = XOR3(ROR(y, 17), ROR(y, 19), _mm512_srli_epi32(y, 10));
			w[i & 15] = ADD(ADD(w[i & 15], s0), ADD(w[(i - 7) & 15], s1));
		}
		__m512i one = ADD(ADD(h, ADD(w[i & 15], _mm512_set1_epi32((int)sha256_rounds[i]))),
				  ADD(XOR3(ROR(e, 6), ROR(e, 11), ROR(e, 25)), _mm512_ternarylogic_epi32(e, f, g, 0xca)));
		__m512i two = ADD(XOR3(ROR(a, 2), ROR(a, 13), ROR(a, 22)), _mm512_ternarylogic_epi32(a, b, c, 0xe8));
		v[(67 - i) & 7] = ADD(d, one);
		v[(71 - i) & 7] = ADD(one, two);
	}
	for (int i = 0; i < 8; i++)
		state[i] = ADD(state[i], v[i]);
}

/* `blocks` more of every lane; those that are idle stay where they are. */
AVX512 static void compress_lanes(struct lanes *lanes, size_t blocks)
{
	__m512i state[8];
	const uint8_t *at[LANES];
	for (int i = 0; i < 8; i++)
		state[i] = _mm512_loadu_si512(lanes->state[i]);
	for (int i = 0; i < LANES; i++)
		at[i] = lanes->all[i].at;
	for (size_t block = 0; block < blocks; block++) {
		compress_block(state, at);
		for (int i = 0; i < LANES; i++)
			at[i] += lanes->all[i].job ? BLOCK : 0;
	}
	for (int i = 0; i < 8; i++)
		_mm512_storeu_si512(lanes->state[i], state[i]);
	for (int i = 0; i < LANES; i++)
		lanes->all[i].at = at[i];
}

static size_t shortest(const struct lanes *lanes)
{
	size_t blocks = SIZE_MAX;
	for (int i = 0; i < LANES; i++)
		if (lanes->all[i].job && lanes->all[i].blocks < blocks)
			blocks = lanes->all[i].blocks;
	return blocks;
}

static void pass(struct lanes *lanes, size_t blocks)
{
	for (size_t i = 0; i < LANES; i++) {
		struct lane *lane = &lanes->all[i];
		if (!lane->job)
			continue;
		lane->blocks -= blocks;
		if (lane->blocks > 0)
			continue;
		if (lane->is_ending)
			finish(lanes, i);
		else
			begin_end(lane);
	}
}

/* The rest of a lane by itself. */
static void finish_alone(const struct lanes *lanes, size_t index)
{
	const struct lane *lane = &lanes->all[index];
	size_t done = lane->is_ending ? lane->job->size / BLOCK * BLOCK : (size_t)(lane->at - lane->job->bytes);
	/* The first of two blocks of an end may be done: then it begins anew. */
	if (lane->is_ending && lane->at != lane->end) {
		one_by_one(lane->job, 1);
		return;
	}
	struct sha256 s = { .size = done };
	for (size_t i = 0; i < 8; i++)
		s.state[i] = lanes->state[i][index];
	sha256_add(&s, lane->job->bytes + done, lane->job->size - done);
	sha256_end(&s, lane->job->digest);
}

static void side_by_side(const struct sha256_job *jobs, size_t count)
{
	struct lanes lanes = { .next = jobs, .last = jobs + count };
	for (size_t i = 0; i < LANES; i++)
		take_job(&lanes, i);
	while (lanes.active > FEW) {
		size_t blocks = shortest(&lanes);
		compress_lanes(&lanes, blocks);
		pass(&lanes, blocks);
	}
	for (size_t i = 0; i < LANES; i++)
		if (lanes.all[i].job)
			finish_alone(&lanes, i);
}

void sha256_all(const struct sha256_job *jobs, size_t count)
{
	if (count > FEW && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))
		side_by_side(jobs, count);
	else
		one_by_one(jobs, count);
}
#else
void sha256_all(const struct sha256_job *jobs, size_t count)
{
	one_by_one(jobs, count);
}
#endif

/*
 * Whoever connects to a monitor's ctl.sock: bytes in pieces from several sides at once, that are read or not, closed or
 * half closed, while the monitor answers, sends output and drops them.
 */
#include "fuzz.h"
#include "../launch/clients.h"
#include "../launch/loop.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define SIDES 4

static int gone, added;

static void on_frame(struct client *client, uint32_t type, const uint8_t *payload, uint32_t size)
{
	static uint8_t output[20000];
	unsigned sum = 0;
	if (size > MAX_CLIENT_FRAME)
		abort();
	for (uint32_t i = 0; i < size; i++)
		sum += payload[i];
	switch (type % 5) {
	case 0:
		client->attached = sum;
		client_send(client, FRAME_DONE, &sum, sizeof sum);
		break;
	case 1:
		clients_send(sum % 4, FRAME_STDOUT, output, sum % sizeof output);
		break;
	case 2:
		client_drop(client);
		break;
	case 3:
		free(client->input);
		client->input = malloc(size + 1);
		memcpy(client->input, payload, size);
		client->input_size = size;
		break;
	}
}

static void on_gone(struct client *client)
{
	(void)client;
	gone++;
}

static void on_relieved(void)
{
	if (clients_are_behind())
		abort();
}

static const struct client_handler handler = { on_frame, on_gone, on_relieved };

static void hang_up(int *side)
{
	if (*side >= 0)
		close(*side);
	*side = -1;
}

static void connect_side(int *side)
{
	int pair[2];
	hang_up(side);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		abort();
	*side = pair[0];
	if (client_add(pair[1], &handler))
		added++;
}

/* The first byte of a step says who and what, the second how many bytes follow. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	int sides[SIDES] = { -1, -1, -1, -1 };
	uint8_t taken[4096];
	for (size_t at = 0; at + 2 <= size;) {
		uint8_t what = bytes[at], count = bytes[at + 1];
		int *side = &sides[what % SIDES];
		at += 2;
		size_t n = count < size - at ? count : size - at;
		switch (what / SIDES % 5) {
		case 0:
			connect_side(side);
			break;
		case 1:
			hang_up(side);
			break;
		case 2:
			while (*side >= 0 && recv(*side, taken, sizeof taken, 0) > 0)
				;
			break;
		default:
			if (*side < 0)
				connect_side(side);
			(void)!send(*side, bytes + at, n, MSG_NOSIGNAL);
			at += n;
		}
		loop_once(0);
	}
	for (int i = 0; i < SIDES; i++)
		hang_up(&sides[i]);
	for (int turn = 0; turn < 200 && gone < added; turn++)
		loop_once(0);
	if (gone != added || clients_next(NULL, 0) || clients_are_behind())
		abort();
	gone = added = 0;
	return 0;
}

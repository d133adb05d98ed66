#include "streams.h"
#include "log.h"
#include "loop.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { IN, OUT, ERR };

/* Ours. A terminal is OUT and IN at once. */
static int ends[3] = { -1, -1, -1 };
static int is_terminal, is_resting, wants_end;
static struct winsize size_wanted;

static void output_ready(void *owner, short revents);
static void input_ready(void *owner, short revents);
static int streams[3] = { IN, OUT, ERR };

static short wanted_of_terminal(void)
{
	int is_writing = 0;
	for (struct client *c = clients_next(NULL, ATTACH_STDIN); c; c = clients_next(c, ATTACH_STDIN))
		is_writing |= c->input != NULL;
	return (short)((is_resting ? 0 : POLLIN) | (is_writing ? POLLOUT : 0));
}

static void close_end(int stream)
{
	if (ends[stream] < 0)
		return;
	if (!(is_terminal && stream == IN)) {
		loop_forget(ends[stream]);
		close(ends[stream]);
	}
	if (is_terminal)
		ends[IN] = -1;
	ends[stream] = -1;
}

static int add_pipe(int stream, int *childs)
{
	int pair[2];
	if (pipe2(pair, O_CLOEXEC) < 0)
		return -1;
	int ours = stream == IN ? pair[1] : pair[0];
	*childs = stream == IN ? pair[0] : pair[1];
	fcntl(ours, F_SETFL, O_NONBLOCK);
	ends[stream] = ours;
	return stream == IN ? loop_watch(ours, 0, input_ready, &streams[IN])
			    : loop_watch(ours, is_resting ? 0 : POLLIN, output_ready, &streams[stream]);
}

int streams_open(int terminal, int with_input, int stdio[3])
{
	is_terminal = terminal;
	wants_end = 0;
	stdio[0] = stdio[1] = stdio[2] = -1;
	if (terminal)
		return 0;
	if (!with_input)
		stdio[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return (with_input && add_pipe(IN, &stdio[0]) < 0) || add_pipe(OUT, &stdio[1]) < 0 || add_pipe(ERR, &stdio[2]) < 0 ? -1 : 0;
}

void streams_close_child(int stdio[3])
{
	for (int i = 0; i < 3; i++)
		if (stdio[i] >= 0)
			close(stdio[i]);
}

void streams_terminal(int master)
{
	close_end(OUT);
	is_terminal = 1;
	ends[OUT] = ends[IN] = master;
	fcntl(master, F_SETFL, fcntl(master, F_GETFL) | O_NONBLOCK);
	if (size_wanted.ws_row > 0 || size_wanted.ws_col > 0)
		ioctl(master, TIOCSWINSZ, &size_wanted);
	loop_watch(master, wanted_of_terminal(), output_ready, &streams[OUT]);
}

void streams_resize(uint32_t rows, uint32_t columns)
{
	size_wanted.ws_row = (unsigned short)(rows > 65535 ? 65535 : rows);
	size_wanted.ws_col = (unsigned short)(columns > 65535 ? 65535 : columns);
	if (is_terminal && ends[OUT] >= 0)
		ioctl(ends[OUT], TIOCSWINSZ, &size_wanted);
}

void streams_rest(int rest)
{
	is_resting = rest;
	for (int stream = OUT; stream <= ERR; stream++)
		if (ends[stream] >= 0)
			loop_want(ends[stream], is_terminal ? wanted_of_terminal() : rest ? 0 : POLLIN);
}

/* One piece of output to the log and to whoever is attached; 0 where there is none now. */
static int pass_on(int stream)
{
	static uint8_t buffer[16384];
	ssize_t n = read(ends[stream], buffer, sizeof buffer);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		close_end(stream);
		return 0;
	}
	log_write(stream, buffer, (size_t)n);
	clients_send(stream == OUT ? ATTACH_STDOUT : ATTACH_STDERR, stream == OUT ? FRAME_STDOUT : FRAME_STDERR, buffer, (uint32_t)n);
	if (clients_are_behind())
		streams_rest(1);
	return 1;
}

static void output_ready(void *owner, short revents)
{
	int stream = *(int *)owner;
	if (is_terminal && revents & POLLOUT)
		input_ready(NULL, POLLOUT);
	if (ends[stream] >= 0 && !is_resting && revents & (POLLIN | POLLHUP | POLLERR))
		pass_on(stream);
}

int streams_drain(void)
{
	for (int stream = OUT; stream <= ERR; stream++)
		while (ends[stream] >= 0) {
			if (clients_are_behind())
				return 0;
			if (!pass_on(stream))
				break;
		}
	return 1;
}

void streams_close(void)
{
	for (int stream = IN; stream <= ERR; stream++)
		close_end(stream);
	for (struct client *c = clients_next(NULL, 0); c; c = clients_next(c, 0)) {
		free(c->input);
		c->input = NULL;
	}
}

static void taken(struct client *client)
{
	free(client->input);
	client->input = NULL;
	client_send(client, FRAME_TAKEN, NULL, 0);
}

static void want_input(int wanted)
{
	if (ends[IN] >= 0)
		loop_want(ends[IN], is_terminal ? wanted_of_terminal() : wanted ? POLLOUT : 0);
}

/* Writes what clients gave, one after the other, as long as the container takes it. */
static void input_ready(void *owner, short revents)
{
	(void)owner;
	(void)revents;
	for (struct client *c = clients_next(NULL, 0); c; c = clients_next(c, 0)) {
		while (c->input && ends[IN] >= 0 && c->input_taken < c->input_size) {
			ssize_t n = write(ends[IN], c->input + c->input_taken, c->input_size - c->input_taken);
			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0 && errno == EAGAIN) {
				want_input(1);
				return;
			}
			if (n <= 0)
				break; /* nobody reads any more: what comes is thrown away, as into a closed pipe */
			c->input_taken += (size_t)n;
		}
		if (c->input)
			taken(c);
	}
	want_input(0);
	if (wants_end)
		streams_end_input();
}

int streams_input(struct client *client, const uint8_t *bytes, uint32_t size)
{
	if (client->input || !(client->input = malloc(size)))
		return -1;
	memcpy(client->input, bytes, size);
	client->input_size = size;
	client->input_taken = 0;
	input_ready(NULL, POLLOUT);
	return 0;
}

void streams_end_input(void)
{
	wants_end = 1;
	for (struct client *c = clients_next(NULL, 0); c; c = clients_next(c, 0))
		if (c->input)
			return;
	wants_end = 0;
	if (!is_terminal)
		close_end(IN);
	else if (ends[IN] >= 0 && write(ends[IN], "\004", 1) < 0)
		return; /* a full terminal: the end of input is lost, as with a real one */
}

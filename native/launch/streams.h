/*
 * A container's standard streams, between it and its log and clients. Output is read while no client is behind,
 * input is written piece by piece and acknowledged; nothing here ever waits.
 */
#ifndef TSB_STREAMS_H
#define TSB_STREAMS_H
#include "clients.h"

/* Makes pipes, or waits for a terminal. stdio[3] is for the child; to be closed with streams_close_child. */
int streams_open(int terminal, int with_input, int stdio[3]);
void streams_close_child(int stdio[3]);
/* The master of the container's terminal; taken over. */
void streams_terminal(int master);
void streams_resize(uint32_t rows, uint32_t columns);
/* Stops or goes on reading, as clients are behind or not. */
void streams_rest(int rest);
/* Reads what is there; 1 when there is nothing more (or nothing more may be read while clients are behind: 0). */
int streams_drain(void);
void streams_close(void);

/* Takes a copy; -1 where a piece of this client's is still waiting. */
int streams_input(struct client *client, const uint8_t *bytes, uint32_t size);
/* After what was given: the end of input, or what stands for it on a terminal. */
void streams_end_input(void);

#endif

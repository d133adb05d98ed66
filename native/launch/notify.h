/* Messages of sd_notify(3). */
#ifndef TSB_NOTIFY_H
#define TSB_NOTIFY_H
#include <stddef.h>

/* The lines of a message that are handed on, into `to`, which has room for the message; their size. */
size_t notify_select(const char *message, size_t size, char *to);

#endif

/* Overlays that the process looks into itself, mounted nowhere. -1 and errno where one cannot be made. */
#ifndef TSB_OVERLAY_H
#define TSB_OVERLAY_H
#include "erofs-mount.h"

/* The next string of a list that lies in memory one after the other; `context` points to where it is. */
const char *next_in_list(void *context);

/* `point`: where images are attached, in a mount namespace of the caller's own; NULL: nowhere. */
int overlay_open(const char *lowers, unsigned count, const char *upper, const char *work, const char *point);
/* The same by a thread with such a namespace. */
int overlay_attached(const char *lowers, unsigned count, const char *upper, const char *work);

#endif

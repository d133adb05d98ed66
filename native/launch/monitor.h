/* The process that holds one container: see monitor.c. */
#ifndef TSB_MONITOR_H
#define TSB_MONITOR_H
#include <stdint.h>

/* The call `monitor`: instructions on `fd`, which becomes the first client. The exit status of the process. */
int monitor(int fd);
/* Ends the container: a signal (0: its own), SIGKILL after the timeout (s; -1: never, -2: its own). */
void monitor_stop(uint32_t signal_number, int32_t timeout_s);

#endif

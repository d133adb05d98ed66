/* The process that holds one container: see monitor.c. */
#ifndef TSB_MONITOR_H
#define TSB_MONITOR_H
#include <stdint.h>

/* The call `monitor`: instructions on `fd`, which becomes the first client. The exit status of the process. */
int monitor(int fd);

#endif

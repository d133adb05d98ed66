#ifndef TSB_HOME_H
#define TSB_HOME_H
#include <stdint.h>

/* The home directory of a user in the text of a passwd; NULL where there is none. Not NUL-terminated: *length bytes. */
const char *find_home(const char *passwd, uint32_t uid, int *length);

#endif

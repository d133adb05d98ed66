/* Unix sockets by path of any length, and descriptors sent over them. */
#ifndef TSB_UNIX_SOCKET_H
#define TSB_UNIX_SOCKET_H
#include <stddef.h>

/* Connected, or bound and listening (SOCK_STREAM); O_CLOEXEC; -1 with errno. */
int connect_path(const char *path, int type);
int listen_path(const char *path);
/* Bound, for datagrams. */
int bind_path(const char *path);
/* 0, or -1 with errno; fd < 0: the bytes alone. */
int send_descriptor(int socket, const void *bytes, size_t size, int fd);

#endif

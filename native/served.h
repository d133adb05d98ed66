/* File systems that a program serves over /dev/fuse. */
#ifndef TSB_SERVED_H
#define TSB_SERVED_H

/*
 * What `program` serves, started as `program -f -o options /dev/fd/3`, mounted nowhere: the program ends when the last
 * mount of it does, so nobody has to end or await it. -1 and errno where it cannot be mounted; a program that does not
 * start leaves a mount where everything is ENOTCONN. `attributes`: MOUNT_ATTR_*.
 */
int served_mount(const char *program, const char *options, unsigned attributes);

#endif

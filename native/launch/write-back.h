#ifndef TSB_WRITE_BACK_H
#define TSB_WRITE_BACK_H

/*
 * `notes` is a file of absolute paths, each of which ends with a NUL. Writes back the file systems that the files at them lie
 * on, after so many milliseconds, then removes the files. An errno, or 0: notes of what was not written stay.
 */
int write_back(int notes, int delay);

#endif

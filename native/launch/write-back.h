#ifndef TSB_WRITE_BACK_H
#define TSB_WRITE_BACK_H

/*
 * Writes back the file systems of the directories from descriptor `directories` on, then removes the files that `notes`
 * names (absolute paths, each ends with a NUL). An errno, or 0: a note stays where its file system was not written.
 */
int write_back(int notes, int directories);

#endif

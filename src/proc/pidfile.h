/*
 * The pid file: locked as long as the master lives, so that a second start notices.
 */
#ifndef PROC_PIDFILE_H
#define PROC_PIDFILE_H

#include <sys/types.h>

struct pidfile;

/* Makes, locks and writes it. 0; ERR_INUSE with the other master's pid in *other; ERR_* with
   errno. An empty path gives 0 and *out = NULL. The lock belongs to the calling process. */
int pidfile_open(const char *path, struct pidfile **out, pid_t *other);
/* In a child: closes the descriptor; the lock stays the master's. */
void pidfile_forget(const struct pidfile *p);
/* Removes it. NULL is allowed. */
void pidfile_close(struct pidfile **p);

#endif

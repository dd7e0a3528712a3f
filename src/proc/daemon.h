/*
 * Going to the background, and a clean process to work in.
 */
#ifndef PROC_DAEMON_H
#define PROC_DAEMON_H

/* Starts this program again, once, with what the C library must know before a program begins;
   returns in the one that is to go on. */
void daemon_program(char *const argv[]);
/* Descriptors above 2 closed, umask 077, working directory /, environment cleaned, standard
   descriptors open. Called first, before anything is opened. */
void daemon_clean(void);
/* Forks twice; returns in the daemon with a descriptor for daemon_started(). The first process
   waits there, and exits with the status it is told (70 when the daemon dies without a word).
 */
int daemon_fork(void);
/* Tells the waiting process how the start went, and with 0 lets go of the terminal. fd < 0: in
   the foreground, nothing to do. */
void daemon_started(int *fd, int status);

/* The standard descriptors to /dev/null. */
void daemon_detach(void);

#endif

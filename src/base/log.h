/*
 * Logging to syslog (facility mail), to the standard error or to a file, one line an event.
 *
 * Severities have fixed meanings: debug (for developers), info (a login, a logout, a reload),
 * warn (the administrator should look; the text names the remedy), error (an operation failed),
 * fatal (the process ends with a status), panic (an invariant is broken: a bug; status 70).
 *
 * No password and no message content in any line. Bytes below 0x20 and 0x7f in a line are
 * written as '?', so that no client can forge a line.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Directs the log: "syslog", "stderr" or a file's absolute path (made with mode 0640 and
   appended to). Returns 0 or an ERR_* code (errno is kept); on error the former destination
   stays in use. Before the first call, lines go to the standard error. */
int log_open(const char *destination, const char *program);
/* Opens a log file again (SIGUSR1), under the same descriptor. Without effect on the others.
   May be called by a signal's handler. 0 or ERR_*. */
int log_reopen(void);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
/* A prefix for each line, such as "imap(ann)[s1x9f]: "; "" to clear. Copied, 127 octets at
 * most. */
void log_set_prefix(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The descriptor of a log file, or -1: what a closer of descriptors must spare. */
int log_fd(void);

void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void log_fatal(int status, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
_Noreturn void log_panic(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Called by log_panic() at its end, as it leaves no other way (atexit) to a program that must
 * say something to those who started it; NULL = nothing. */
extern void (*log_last_word)(void);

/* Test seam: called with the finished line (level, prefix and text) instead of writing it. */
extern void (*log_hook)(enum log_level level, const char *line);

#endif

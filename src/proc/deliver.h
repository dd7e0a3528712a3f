/*
 * mansio-deliver(8), behind its command line. Private to src/proc.
 */
#ifndef PROC_DELIVER_H
#define PROC_DELIVER_H

#include <stdbool.h>

/* sysexits.h's numbers: what mail transfer agents expect. */
enum deliver_exit {
    DELIVER_OK = 0,
    DELIVER_USAGE = 64,
    DELIVER_DATA = 65,        /* a message over append_limit */
    DELIVER_NO_USER = 67,     /* no such user */
    DELIVER_UNAVAILABLE = 69, /* the mailbox is full, with bounce_full */
    DELIVER_NO_FOLDER = 73,   /* no such folder, with strict; or it can't be made */
    DELIVER_IO = 74,
    DELIVER_TEMPORARY = 75,
    DELIVER_PERMISSION = 77,
    DELIVER_CONFIG = 78
};

struct deliver_options {
    const char *conf_file;
    const char *user;
    const char *sender;    /* for Return-Path:, "" = the null sender; NULL = not known */
    const char *recipient; /* for Delivered-To:; NULL = none */
    const char *folder;    /* as typed; NULL = INBOX */
    const char *details;   /* characters that begin a detail in a user's name; "" = none */
    bool create;           /* a missing folder is made */
    bool strict;           /* a missing folder is an error, not a reason to take INBOX */
    bool bounce_full;      /* over quota is final */
};

/* Delivers the standard input. Returns the exit status after a line on the standard error that
   begins with a status code of RFC 3463, unless it's 0. */
int deliver_run(const struct deliver_options *o);

/* That line; returns status. `code` is three numbers with dots. */
int deliver_fail(int status, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif

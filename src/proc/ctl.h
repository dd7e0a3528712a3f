/*
 * mansioctl(8): a table of subcommands, a file for each group of them. Private to src/proc.
 *
 * Exit statuses: 0 done; 1 the answer is no (no such user, faults found, wrong password); 64
 * usage; 69 the server isn't running; 75 temporary failure; 77 not permitted; 78
 * configuration.
 */
#ifndef PROC_CTL_H
#define PROC_CTL_H

#include <stddef.h>

#include "base/conf.h"

enum ctl_exit {
    CTL_OK = 0,
    CTL_NO = 1,
    CTL_USAGE = 64,
    CTL_NOT_RUNNING = 69,
    CTL_TEMPORARY = 75,
    CTL_PERMISSION = 77,
    CTL_CONFIG = 78
};

struct ctl {
    const char *conf_file;
    struct conf *conf; /* loaded as the command wants it */
};

enum ctl_wants {
    CTL_NO_CONF,
    CTL_CONF,       /* a configuration without errors */
    CTL_SERVER_CONF /* where the server is, even when the file has errors: see ctl_conf.c */
};

/* Gets the arguments behind the command's words: argv[0] is the first. */
typedef int ctl_handler(struct ctl *ctl, int argc, char **argv);

struct ctl_command {
    const char *name;     /* one or two words */
    const char *synopsis; /* the arguments, "" = none */
    const char *help;     /* one line */
    ctl_handler *run;
    enum ctl_wants wants;
};

/* Ends with a NULL name. tests/proc/manual.py compares it with the manual page. */
extern const struct ctl_command ctl_commands[];

/* The whole program behind its options. Returns the exit status. */
int ctl_run(struct ctl *ctl, int argc, char **argv);
/* "mansioctl: text" on the standard error; returns status. */
int ctl_fail(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The exit status for an ERR_* code. */
int ctl_status_of(int err);
/* Prints a fault of the configuration to the standard error: a conf_report. */
void ctl_print_fault(void *ctx, const char *file, int line, const char *text);

/* ctl_conf.c: what the commands for the running server need, from a file that may have errors.
 */
struct conf *ctl_server_conf(const char *file);

/* ctl_password.c: asks at the terminal (twice if `confirm`, echo off), or reads a line of the
   standard input if that is none. At most size - 1 octets, not empty. 0 or an exit status after
   a message. */
int ctl_read_password(const char *user, bool confirm, char *password, size_t size);

/* ctl_table.c: prints lines of blank-separated fields in aligned columns; the first line's
   fields are the columns, the last one takes what is left. Changes the text. */
void ctl_print_table(char *text);

ctl_handler ctl_user_add, ctl_user_passwd, ctl_user_del, ctl_user_list, ctl_user_test;
ctl_handler ctl_status, ctl_who, ctl_kick, ctl_reload, ctl_reopen, ctl_stop;
ctl_handler ctl_cert_selfsigned, ctl_cert_show;
ctl_handler ctl_mailbox_check, ctl_mailbox_rebuild;
ctl_handler ctl_quota, ctl_import, ctl_export;
ctl_handler ctl_selftest;
ctl_handler ctl_config_check, ctl_help;

#endif

/*
 * mansioctl selftest: can the file system of a directory hold mail, and does what is promised
 * there survive a kill at any step? Private to ctl_selftest*.c and its test.
 *
 *   ctl_selftest.c        the command: directory, report, cleaning up
 *   ctl_selftest_fs.c     what Mansio needs of a file system, tried out
 *   ctl_selftest_ops.c    the operations, each done in a process of its own
 *   ctl_selftest_state.c  what is in an account, and what may be there after a kill
 *   ctl_selftest_kill.c   the kill matrix, and speed
 */
#ifndef PROC_CTL_SELFTEST_H
#define PROC_CTL_SELFTEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/conf.h"
#include "store/account.h"

struct selftest {
    const char *dir; /* ours, below the administrator's; absolute */
    bool verbose;
    bool terminal; /* progress is shown */
    unsigned wrong;
    struct conf *conf; /* defaults, but for auto_folders */
};

/* Runs all of it in `dir`, an empty directory, and leaves what it made there; prints the
   report. How much was wrong. */
unsigned selftest_run(const char *dir, bool verbose);

/* One line of the report: "ok", "NOTE" or "NO" (counted in t->wrong), what was tried, and what
   it means in plain words. */
enum finding { FOUND_GOOD, FOUND_NOTE, FOUND_BAD };
void selftest_say(struct selftest *t, enum finding f, const char *subject, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

void selftest_file_system(struct selftest *t);
void selftest_kills(struct selftest *t);
void selftest_speed(struct selftest *t);

/* What an account holds. Lies in memory that processes share; so it has no pointers. */
#define STATE_FOLDERS  12
#define STATE_MESSAGES 24
#define STATE_NAME     40
struct state_message {
    uint32_t uid;
    unsigned flags;
    uint64_t sum;
};
struct state_folder {
    char name[STATE_NAME];
    uint32_t uidvalidity, uidnext;
    unsigned count;
    struct state_message messages[STATE_MESSAGES];
};
struct state {
    bool complete; /* it was read to its end */
    unsigned folders_count;
    struct state_folder folders[STATE_FOLDERS];
    char subscribed[256];
    unsigned faults; /* that mailbox check found */
    char fault[200];
};
/* Reads an account. 0 or ERR_*. */
int selftest_read_state(struct account *a, struct state *out);
/* Is `now` a state that a kill may leave, of an operation that leads from `before` to `done`?
   `acknowledged`: it was answered OK. `uids`: UIDs mean the same in all three. Else the reason
   goes to `why`. */
bool selftest_judge(const struct state *before, const struct state *done,
                    const struct state *now, bool acknowledged, bool uids, char *why,
                    size_t size);

/* An operation. */
struct selftest_op {
    const char *name;
    int (*run)(struct account *a);
    bool no_index; /* the account has none before: UIDs are given anew */
};
extern const struct selftest_op selftest_ops[]; /* ends with a NULL name */
/* Fills a new account. */
int selftest_fill(struct account *a);
/* APPEND of a small message whose text says `token`. */
int selftest_append(struct account *a, const char *folder, const char *token, uint32_t *uid);

#endif

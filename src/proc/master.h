/*
 * The master's state, and what its files give each other. Private to src/proc.
 *
 *     mansiod.c  options      setup.c    configuration, TLS, sockets, checked before use
 *     daemon.c   background   pidfile.c  one master a pid file
 *     start.c    up to the first fork    master.c   loop, stop
 *     reload.c   SIGHUP                  notify.c   systemd
 *     child.c    table of children, fork, reap      service.c  pools and the auth process
 *     control.c  the control socket      answers.c  its status and who
 */
#ifndef PROC_MASTER_H
#define PROC_MASTER_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "proc/pool.h"
#include "proc/scoreboard.h"
#include "proc/setup.h"
#include "proc/throttle.h"

enum child_kind { CHILD_IMAP, CHILD_POP3, CHILD_AUTH, CHILD_KINDS };
#define POOLS 2 /* the kinds with a pool of workers: CHILD_IMAP, CHILD_POP3 */

/* imap_max_workers and pop3_max_workers can be 50,000 each; workers of an old generation and
   auth processes that leave count too. Unused slots cost address space only. */
#define CHILD_SLOTS 100016

enum child_state { CHILD_STARTING, CHILD_IDLE, CHILD_BUSY };

struct child {
    pid_t pid; /* 0 = free slot */
    enum child_kind kind;
    enum child_state state;
    bool leaving; /* was told to end when idle */
    unsigned generation;
    int64_t started_ms;
    int64_t kill_ms; /* SIGKILL then; 0 = never */
    uint32_t next;   /* of the same hash bucket; slot + 1, 0 = end */
};

/* A service: a pool of workers, or the auth process. */
struct service {
    const char *name;
    enum child_kind kind;
    enum listen_kind plain, tls; /* pools only */
    bool enabled;
    struct throttle throttle;
    /* Workers that leave when idle aren't counted as idle; busy ones are, of any generation. */
    struct pool_counts counts;
    struct pool_state growth;
    bool lost_idle; /* an idle worker was killed, perhaps with a connection it woke up for */
    int64_t full_warned_ms;
    uint64_t forks, crashes, served; /* since the start; served: turned busy */
};

struct control; /* control.c */
struct pidfile; /* pidfile.c */

struct master {
    const char *conf_file;
    bool foreground;
    struct setup *setup;
    struct scoreboard *board;
    struct child *children; /* CHILD_SLOTS; a child's slot is its slot in the scoreboard */
    uint32_t *buckets;      /* pid -> slot + 1 */
    size_t slots_used;      /* slots from here on were never used */
    size_t free_hint;       /* no slot below is free */
    struct service services[CHILD_KINDS];
    pid_t auth_pid; /* the current one; 0 = none */
    int auth_fd;    /* listening Unix socket that the auth process accepts from */
    int report_fd[2], life_fd[2];
    int signal_fd;
    struct control *control;
    struct pidfile *pidfile;
    int start_fd; /* tells the parent that waits in daemon.c; -1 = nobody */
    unsigned generation;
    int64_t started; /* seconds since 1970 */
    int64_t started_ms, next_tick_ms;
    bool ready; /* the start has worked */
    bool stopping;
    int64_t kill_ms; /* the nearest of the children's; 0 = none has one */
    bool killed;     /* SIGKILL was sent to all workers that were left */
    bool auth_told;  /* the auth process was told to end, the last one */
    int64_t stop_ms; /* when the grace is over */
    int exit_status;
};

#define EXIT_UNAVAILABLE 69
#define EXIT_OS          71

/* start.c */
/* Everything up to the first fork of a child. An exit status, 0 = go on. */
int master_prepare(struct master *m);
/* Directs the log where conf says; in the foreground, to the standard error what would go to
   syslog. 0 or ERR_* (logged). */
int master_open_log(const struct master *m, const struct conf *conf);
/* Gives the log file to the processes that write to it. */
void master_own_log(const struct master *m);
/* The same, and the auth socket to the workers. */
void master_give_files(const struct master *m);
/* A listening Unix socket in run_dir, 0600, non-blocking. 0 or ERR_* with errno. */
int master_socket(const struct master *m, const char *name, int backlog, int *out);
void master_unlink(const struct master *m, const char *name);

/* master.c */
int master_run(struct master *m);
void master_stop(struct master *m, int exit_status, const char *why);
/* Puts each child's log on the new file (SIGUSR1). */
void master_reopen_log(struct master *m);

/* child.c */
void children_init(struct master *m);
void children_free(struct master *m);
/* NULL if there's none. */
struct child *child_find(struct master *m, pid_t pid);
size_t child_slot(const struct master *m, const struct child *c);
/* Forks one. NULL when fork() failed (logged, service throttled). */
struct child *child_fork(struct master *m, enum child_kind kind);
/* Takes state and counts over from a report. */
void child_set_state(struct master *m, struct child *c, enum child_state state);
/* Asks a worker to end when it is idle. */
void child_retire(struct master *m, struct child *c);
/* Waits for all that have ended. */
void children_reap(struct master *m);
void children_signal(struct master *m, enum child_kind kind, int sig);
size_t children_count(const struct master *m, enum child_kind kind);

/* service.c */
void services_init(struct master *m);
/* After a start or a reload: which services exist, and none has failed yet. */
void services_configure(struct master *m);
const struct conf_pool *service_band(const struct master *m, const struct service *s);
/* The first workers of a generation: min_spare of each service at once. */
void services_start(struct master *m);
/* Forks and retires as the policy says. */
void service_maintain(struct master *m, struct service *s, bool tick);
void services_maintain(struct master *m, bool tick);
/* A child of it has ended. */
void service_child_died(struct master *m, const struct child *c, int wait_status);
/* A worker reported. */
void service_report(struct master *m, pid_t pid, unsigned generation, unsigned state);
/* All enabled services have a child that works. */
bool services_ready(const struct master *m);
/* Nothing is to be done before something happens. */
bool services_settled(const struct master *m);

/* reload.c: 0 or ERR_CONFIG ...; each fault and the outcome go to the log and, if not NULL, as
   "* text" lines to answer. */
int master_reload(struct master *m, struct buf *answer);
/* A conf_report that logs; ctx unused. */
void report_to_log(void *ctx, const char *file, int line, const char *text);

/* control.c */
struct pollfd;
#define CONTROL_POLL_MAX 9
/* 0 or ERR_*; ERR_INUSE: another master answers there. */
int control_open(struct master *m);
void control_close(struct master *m);
/* In a child: closes the descriptors. */
void control_forget(struct master *m);
/* Fills in what to wait for, at most CONTROL_POLL_MAX; returns how many. */
size_t control_poll(struct master *m, struct pollfd *pfd, int64_t *wake_ms);
void control_serve(struct master *m, const struct pollfd *pfd, size_t n);

/* answers.c */
void answer_status(struct master *m, struct buf *out);
void answer_who(struct master *m, struct buf *out);
/* Ends the sessions that `what` names: user, session id or pid. How many. */
unsigned answer_kick(struct master *m, const char *what);

#endif

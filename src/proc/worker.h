/*
 * A worker process: serves the connections of one protocol, one after the other.
 */
#ifndef PROC_WORKER_H
#define PROC_WORKER_H

#include <stdint.h>
#include <sys/types.h>

#include "auth/session.h"
#include "proc/scoreboard.h"
#include "proc/setup.h"

/* What a worker tells the master over the pipe. Fixed and smaller than PIPE_BUF: lines of
   several writers never mix. */
enum worker_state { WORKER_IDLE = 1, WORKER_BUSY = 2 };
struct worker_report {
    int32_t pid;
    uint32_t generation;
    uint32_t state; /* enum worker_state */
};

/* The signal by which the master ends one session of a worker; its value is the number of the
   connection within the worker, so that it never hits another one. */
#define WORKER_KICK_SIGNAL SIGRTMIN

struct worker_params {
    const struct setup *setup; /* its listeners of other protocols are closed already (fd -1) */
    const char *service;       /* "imap" or "pop3" */
    enum listen_kind plain, tls;
    struct score *score;
    int report_fd; /* written; non-blocking */
    int life_fd;   /* at its end when the master is gone */
    unsigned generation;
    pid_t master;
};

/* Serves until told to stop. Called with all signals blocked. Returns the exit status. */
int worker_run(const struct worker_params *p);

/* worker_score.c: the worker's slot when a session reports, begins, and when none is there. */
void worker_score_session(struct score *score, const struct session *s,
                          enum session_state state, const char *user, const char *command);
void worker_score_connected(struct score *score, const struct session *s, uint64_t connections);
void worker_score_idle(struct score *score);

#endif

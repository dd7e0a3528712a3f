/*
 * Everything that a configuration file brings along and that a start or a reload must have in
 * full before anything is changed: the values, the TLS context, the listening sockets, the ids.
 */
#ifndef PROC_SETUP_H
#define PROC_SETUP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/conf.h"
#include "net/listener.h"
#include "net/tls.h"

enum listen_kind { LISTEN_IMAP, LISTEN_IMAPS, LISTEN_POP3, LISTEN_POP3S, LISTEN_KINDS };

/* One listening socket, with the item of the configuration's list that it came from. */
struct bound {
    struct listener listener;
    enum listen_kind kind;
    char item[160];
    bool adopted; /* taken over from the setup before */
};

#define SETUP_BOUND_MAX (LISTEN_KINDS * LISTENER_MAX)

struct setup {
    struct conf *conf;
    struct tls_context *tls; /* NULL: no certificate configured */
    struct bound bound[SETUP_BOUND_MAX];
    size_t bound_count;
    uid_t mail_uid, auth_uid; /* started by root: who the processes run as; else the caller */
    gid_t mail_gid, auth_gid;
};

/* Reads and checks the file and all that it names (certificate, key, accounts, users file)
   without binding. Every fault goes to report. 0 or ERR_CONFIG. On success *out is the
   setup without sockets. */
int setup_load(const char *file, conf_report *report, void *ctx, struct setup **out);
/* Binds what isn't bound in `old` (NULL = nothing) already, and shares the rest with it. 0, or
   ERR_INUSE, ERR_PERM, ERR_IO, ERR_CONFIG after reports; then nothing stays bound. */
int setup_bind(struct setup *s, const struct setup *old, conf_report *report, void *ctx);
/* Frees a setup that was never used: closes only what it has bound itself. */
void setup_abandon(struct setup **s);
/* Frees one that `next` (NULL = none) has replaced: sockets that next doesn't share stop
   listening in every process that still has them, and are closed. */
void setup_retire(struct setup **s, const struct setup *next);
/* Does the protocol of these two lists listen anywhere? */
bool setup_listens(const struct setup *s, enum listen_kind plain, enum listen_kind tls);

#endif

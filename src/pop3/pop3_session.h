/*
 * The POP3 session's own state and what its files share. Private to src/pop3.
 *
 * A handler writes its whole answer to the stream. It tests no states (the table in commands.c
 * does) and no stream errors (they stick).
 */
#ifndef POP3_POP3_SESSION_H
#define POP3_POP3_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/session.h"
#include "base/buf.h"
#include "pop3/maildrop.h"

#define POP3_ARGS_MAX 3

enum pop3_state {
    POP3_AUTHORIZATION = 1, /* RFC 1939 4 */
    POP3_TRANSACTION = 2,   /* RFC 1939 5 */
    POP3_ANY = 3
};

struct pop3_arg {
    char *text; /* into the line; NUL-terminated */
    size_t len;
};

struct pop3 {
    struct session *s;
    struct stream *out; /* = s->stream */
    const struct conf *conf;
    enum pop3_state state;
    bool over;             /* the session ends after this answer */
    unsigned bad_commands; /* since the last good one */
    unsigned login_failures;
    int64_t login_deadline;
    struct buf line;
    struct pop3_arg args[POP3_ARGS_MAX];
    size_t args_count;
    char challenge[256];   /* the greeting's timestamp for APOP; "" = none */
    char *user;            /* given by USER; owned; NULL = none */
    struct maildrop *drop; /* in TRANSACTION */
    const char *reported;  /* the command the scoreboard shows */
};

typedef void pop3_handler(struct pop3 *p);

enum pop3_command_flags {
    POP3_RAW = 1,       /* the rest of the line is one argument, blanks included */
    POP3_CAPABILITY = 2 /* the name is a capability, and may be hidden (hidden_capabilities) */
};
struct pop3_command {
    const char *name;
    pop3_handler *handler;
    unsigned states;
    unsigned min_args, max_args;
    unsigned flags;
};
/* By name, in any case; NULL if there's no such command, or its capability is hidden. */
const struct pop3_command *pop3_find_command(const struct pop3 *p, const char *name);

/* Answers. pop3_bad() is for commands that make no sense: they count against the limit. */
void pop3_ok(struct pop3 *p, const char *text);
void pop3_err(struct pop3 *p, const char *text);
void pop3_bad(struct pop3 *p, const char *text);
/* The answer for a store's error, by one table. */
void pop3_store_err(struct pop3 *p, int err);

/* Reads a line with the limits of the state. 0, or an error: ERR_LIMIT is already answered,
   others end the session. */
int pop3_read_line(struct pop3 *p);
/* Ends the session; reason is static text for the log. */
void pop3_end(struct pop3 *p, const char *reason);

/* Logs in with what the client gave, and answers. The password is wiped. */
struct credentials;
void pop3_login(struct pop3 *p, struct credentials *c);
/* Forgets a USER, and wipes what the line held. */
void pop3_forget(struct pop3 *p);

/* The capability or mechanism is not hidden by the configuration. */
bool pop3_shows(const struct pop3 *p, const char *capability);
/* An APOP digest may be sent over this connection. */
bool pop3_apop_ok(const struct pop3 *p);

/* The message an argument names, if there's one and it's not deleted: its number. Otherwise 0,
   and it's answered. */
uint32_t pop3_message(struct pop3 *p, size_t arg);

/* cmd_any.c */
pop3_handler pop3_cmd_capa, pop3_cmd_stls, pop3_cmd_utf8, pop3_cmd_lang, pop3_cmd_noop;
/* cmd_auth.c */
pop3_handler pop3_cmd_user, pop3_cmd_pass, pop3_cmd_apop, pop3_cmd_auth;
/* cmd_list.c */
pop3_handler pop3_cmd_stat, pop3_cmd_list, pop3_cmd_uidl;
/* cmd_retr.c */
pop3_handler pop3_cmd_retr, pop3_cmd_top;
/* cmd_dele.c */
pop3_handler pop3_cmd_dele, pop3_cmd_rset, pop3_cmd_quit;

#endif

/*
 * The IMAP session's own state and the helpers that command handlers share. Private to
 * src/imap.
 *
 * A handler does its work, writes untagged responses to the stream, and returns a reply; the
 * command loop (session.c) then syncs the view as the command's flags allow, writes the
 * untagged changes, the tagged line and flushes. Handlers test neither states (the table does)
 * nor stream errors (they stick).
 */
#ifndef IMAP_IMAP_SESSION_H
#define IMAP_IMAP_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/session.h"
#include "base/arena.h"
#include "base/buf.h"
#include "format/imapparse.h"
#include "format/mime.h"
#include "format/seqset.h"
#include "store/mailbox.h"
#include "store/view.h"

enum imap_state {
    STATE_NOT_AUTH = 1,
    STATE_AUTH = 2,
    STATE_SELECTED = 4,
    STATE_ANY = 7,
    STATE_LOGGED_IN = STATE_AUTH | STATE_SELECTED
};

struct imap {
    struct session *s;
    struct stream *out; /* = s->stream */
    const struct conf *conf;
    struct arena *arena;    /* the command's */
    struct imapparse parse; /* tag, name, uid, args */
    enum imap_state state;
    struct view *view;   /* of the selected mailbox; NULL otherwise */
    struct seqset saved; /* SEARCHRES */
    bool logout;
    unsigned bad_commands;
    struct mime_limits mime;
    struct fetch_memo
        *memo; /* fetch_body.c: last message opened and its parts; freed at deselect */
    struct view_batch *batch; /* made when first needed */

    /* Of the command loop (session.c, input.c, idle.c). */
    const struct imap_command *command; /* found in the table; NULL if unknown */
    struct buf line;                    /* the line being read */
    int64_t login_deadline;             /* sys_monotonic_ms() */
    int64_t command_deadline;           /* of the command's lines, literals apart */
    int64_t synced;                     /* when the view was synced last */
    uint64_t dropped;                   /* octets of refused literals of this command */
    bool resting;                       /* memory was given back; nothing was used since */
    const char *reported;               /* command name last told to the scoreboard */
    struct imap_append *append;         /* cmd_append.c: an APPEND whose data comes in */
    bool id_logged;
};

/* What a handler answers: the tagged status line without the tag. */
enum reply_kind {
    REPLY_OK,
    REPLY_NO,
    REPLY_BAD,
    REPLY_NONE /* connection is over, or handler has answered */
};
struct reply {
    enum reply_kind kind;
    const char *text; /* "[CODE x] text" or "text"; static or in the command's arena */
};
struct reply reply_ok(const char *text);
struct reply reply_no(const char *text);
struct reply reply_bad(const char *text);
struct reply reply_okf(struct imap *im, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* A store or parser error as a response, by one table: ERR_NOENT -> NO [NONEXISTENT] ..., RFC
 * 5530. */
struct reply reply_err(int err);
/* The same for the mailbox that messages shall go to: ERR_NOENT -> NO [TRYCREATE] (RFC 3501
   6.3.11, 6.4.7). */
struct reply reply_target(int err);

typedef struct reply imap_handler(struct imap *im);

enum command_flags {
    CMD_UID_OK = 1,     /* UID prefix is allowed */
    CMD_NO_EXPUNGE = 2, /* no untagged EXPUNGE at its end (FETCH, STORE, SEARCH without UID
                           prefix: RFC 3501 7.4.1) */
    CMD_NO_SYNC = 4,    /* no untagged changes at all */
    CMD_NO_ARGS = 8
};
struct imap_command {
    const char *name;
    imap_handler *handler;
    unsigned states, flags;
    const char *capability; /* unknown while this is hidden; NULL = always there */
};
extern const struct imap_command imap_commands[]; /* commands.c; by name, ends with NULL */
/* The command of that name (upper case), or NULL. */
const struct imap_command *imap_find_command(const struct imap *im, const char *name);
/* What is wrong with this command in this state; NULL = nothing. */
const char *imap_command_fault(const struct imap *im, const struct imap_command *c);

/* Reads a sequence set argument (with * and $) into UIDs known to the view: by numbers, or by
   UIDs if `uid`. 0; ERR_SYNTAX, ERR_RANGE (a number beyond the mailbox), ERR_LIMIT. */
int imap_read_set(struct imap *im, const struct token *t, bool uid, struct seqset *uids);
/* A mailbox argument -> internal name in the arena. ERR_SYNTAX when it isn't an astring, else
 * as mboxname_from_client(). `creating`: strict rules. */
int imap_read_mailbox(struct imap *im, const struct token *t, bool creating,
                      const char **internal);
/* "(\Seen $Work)" -> flags; ERR_SYNTAX. \Recent is ignored. In the arena. */
int imap_read_flags(struct imap *im, const struct token *list, struct flag_set *out);
/* Writes "(\Seen $Work \Recent)". */
void imap_write_flags(struct imap *im, unsigned flags, uint64_t keywords, bool recent,
                      struct buf *out);
/* "* n FETCH (UID u FLAGS (...))" for these UIDs (flags changed by another, or by STORE). */
void imap_send_flags(struct imap *im, const struct seqset *uids, bool with_uid);
/* The same of flags that a STORE has just set: nothing is read. */
void imap_send_stored(struct imap *im, const struct view_stored *stored, size_t count,
                      bool with_uid);
/* Writes a mailbox name as astring in the client's form. */
void imap_write_mailbox(struct imap *im, const char *internal, struct buf *out);
/* Untagged changes of the view, EXPUNGE only if allowed. False when the view is void (BYE sent,
 * logout set). */
bool imap_send_changes(struct imap *im, bool expunge);
/* "* FLAGS (...)" and, if `permanent`, "* OK [PERMANENTFLAGS (...)]" (RFC 3501 7.2.6, 7.1). */
void imap_send_flag_lists(struct imap *im, bool permanent);
/* Leaves the selected state (no EXPUNGE of messages). */
void imap_deselect(struct imap *im);
/* Is this capability hidden by the configuration? */
bool imap_hidden(const struct imap *im, const char *capability);
/* The capability list for the state, without "CAPABILITY ". In the arena. */
const char *imap_capabilities(struct imap *im);

/* Input (input.c): whole commands from lines and literals, each within its deadline. */

/* Reads one command into im->parse and finds it in the table. True: run it. False: *reply says
   what is wrong, and everything that belongs to the command was read; or the connection is over
   (REPLY_NONE). */
bool imap_read_command(struct imap *im, struct reply *reply);
/* Reads one line into im->line, as AUTHENTICATE and IDLE need it, within command_timeout. 0,
   ERR_LIMIT (line too long, session goes on), or another error: the session is over. A line
   that isn't what was asked for may be a command with literals: imap_refuse_literal(). */
int imap_read_plain_line(struct imap *im);
/* A literal as source; the deadline moves on at the pace of min_transfer_rate. */
struct imap_literal {
    struct source source;
    struct imap *im;
    uint64_t left;        /* octets not yet read */
    int64_t began, until; /* sys_monotonic_ms(); the deadline */
};
void imap_literal_init(struct imap_literal *l, struct imap *im, uint64_t octets);
/* Reads what is left and drops it. False: the connection is over. */
bool imap_literal_drop(struct imap_literal *l);
/* Asks for the literal announced last, if the client waits for that ("+ OK"). */
void imap_literal_go(struct imap *im);
/* The command is refused before its literal was read, or after: reads what the client sends
   of it anyway. */
void imap_refuse_literal(struct imap *im);
void imap_skip_command(struct imap *im);
/* APPEND's message literals (cmd_append.c). As imap_read_command(): false when the command is
   over. */
bool imap_append_literal(struct imap *im, struct reply *reply);
void imap_append_abort(struct imap *im);

/* Waiting and ending (wait.c). */

/* Until the client sends something (1), fd (-1: none) is readable (2), or `until` (0: never)
   passes (0). -1: the session is over, because the server stops or `limit` passed; BYE was
   sent. Memory is given back while it waits. */
int imap_wait(struct imap *im, int fd, int64_t until, int64_t limit);
/* "* BYE text" and the end of the session, also after a read timed out; `reason` (static) is
   for the log. */
void imap_bye(struct imap *im, const char *text, const char *reason);
/* True when the server stops: then BYE was sent. */
bool imap_stopping(struct imap *im);
/* To the scoreboard; command NULL: unchanged. */
void imap_report(struct imap *im, enum session_state state, const char *command);

/* A list of flag tokens without its parentheses (STORE allows that). As imap_read_flags(). */
int imap_read_flag_tokens(struct imap *im, const struct token *first, struct flag_set *out);
/* "(MESSAGES UNSEEN)" -> bits for imap_write_status(). ERR_SYNTAX. (cmd_status.c) */
int imap_read_status_items(struct imap *im, const struct token *list, unsigned *items);
/* "* STATUS name (...)" and CRLF. 0 or ERR_* (nothing written then). */
int imap_write_status(struct imap *im, const char *internal, unsigned items,
                      const struct mailbox_status *st, struct buf *out);
/* Must the mailbox's octets be counted for that? */
bool imap_status_needs_size(unsigned items);

/* Handlers, a file per family. */
imap_handler cmd_capability, cmd_noop, cmd_logout, cmd_id, cmd_enable;    /* cmd_any.c */
imap_handler cmd_starttls, cmd_login, cmd_authenticate;                   /* cmd_login.c */
imap_handler cmd_select, cmd_examine, cmd_close, cmd_unselect, cmd_check; /* cmd_select.c */
imap_handler cmd_create, cmd_delete, cmd_rename, cmd_subscribe,
    cmd_unsubscribe;                                     /* cmd_folders.c */
imap_handler cmd_list, cmd_lsub, cmd_namespace;          /* cmd_list.c */
imap_handler cmd_status;                                 /* cmd_status.c */
imap_handler cmd_getquota, cmd_getquotaroot;             /* cmd_quota.c */
imap_handler cmd_append;                                 /* cmd_append.c */
imap_handler cmd_idle;                                   /* cmd_idle.c */
imap_handler cmd_store, cmd_copy, cmd_move, cmd_expunge; /* cmd_store.c, cmd_copy.c */
imap_handler cmd_fetch;                                  /* cmd_fetch.c, fetch_*.c */
imap_handler cmd_search;                                 /* cmd_search.c, search_*.c */
void fetch_memo_free(struct fetch_memo **m);

#endif

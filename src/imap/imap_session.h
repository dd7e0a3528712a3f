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

typedef struct reply imap_handler(struct imap *im);

enum command_flags {
    CMD_UID_OK = 1,     /* UID prefix is allowed */
    CMD_NO_EXPUNGE = 2, /* no untagged EXPUNGE at its end (FETCH, STORE, SEARCH without UID
                           prefix: RFC 3501 7.4.1) */
    CMD_NO_SYNC = 4,    /* no untagged changes at all */
    CMD_NO_REPORT_CODE = 8
};
struct imap_command {
    const char *name;
    imap_handler *handler;
    unsigned states, flags;
};
extern const struct imap_command imap_commands[]; /* commands.c; ends with a NULL name */

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
/* Writes a mailbox name as astring in the client's form. */
void imap_write_mailbox(struct imap *im, const char *internal, struct buf *out);
/* Untagged changes of the view, EXPUNGE only if allowed. False when the view is void (BYE sent,
 * logout set). */
bool imap_send_changes(struct imap *im, bool expunge);
/* Leaves the selected state (no EXPUNGE of messages). */
void imap_deselect(struct imap *im);
/* Is this capability hidden by the configuration? */
bool imap_hidden(const struct imap *im, const char *capability);
/* The capability list for the state, without "CAPABILITY ". In the arena. */
const char *imap_capabilities(struct imap *im);

/* Handlers, a file per family. */
imap_handler cmd_capability, cmd_noop, cmd_logout, cmd_id, cmd_enable;    /* cmd_any.c */
imap_handler cmd_starttls, cmd_login, cmd_authenticate;                   /* cmd_login.c */
imap_handler cmd_select, cmd_examine, cmd_close, cmd_unselect, cmd_check; /* cmd_select.c */
imap_handler cmd_create, cmd_delete, cmd_rename, cmd_subscribe,
    cmd_unsubscribe;                                     /* cmd_folders.c */
imap_handler cmd_list, cmd_lsub, cmd_namespace;          /* cmd_list.c */
imap_handler cmd_status;                                 /* cmd_status.c */
imap_handler cmd_append;                                 /* cmd_append.c */
imap_handler cmd_idle;                                   /* cmd_idle.c */
imap_handler cmd_store, cmd_copy, cmd_move, cmd_expunge; /* cmd_store.c, cmd_copy.c */
imap_handler cmd_fetch;                                  /* cmd_fetch.c, fetch_*.c */
imap_handler cmd_search;                                 /* cmd_search.c, search_*.c */
void fetch_memo_free(struct fetch_memo **m);

#endif

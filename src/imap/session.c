/*
 * The IMAP session: greeting, command loop, end.
 *
 *   wait -> read a command (input.c) -> handler by the table (commands.c) -> untagged changes
 *   (changes.c) -> tagged reply -> arena reset
 *
 * Nothing is flushed here: the stream flushes before it waits for input, so the replies to
 * pipelined commands share a write. What one connection leaves behind ends in session_free().
 */
#include <stdlib.h>
#include <string.h>

#include "auth/password.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "imap/imap.h"
#include "imap/imap_session.h"

/* While a client pipelines FETCH, STORE or SEARCH, neighbours' changes are looked up this
   often (ms), not after each of them. */
#define SYNC_INTERVAL 500

static void
session_begin(struct imap *im, struct session *s)
{
    memset(im, 0, sizeof *im);
    im->s = s;
    im->out = s->stream;
    im->conf = s->conf;
    im->arena = arena_new();
    im->state = STATE_NOT_AUTH;
    im->login_deadline = sys_monotonic_ms() + 1000LL * s->conf->login_timeout;
    seqset_init(&im->saved);
    buf_init(&im->line, s->conf->max_line > s->conf->login_max_line ? s->conf->max_line
                                                                    : s->conf->login_max_line);
    mime_limits_from_conf(&im->mime, s->conf);
    log_set_prefix("%s[%s]: ", s->service, s->id);
    imap_report(im, SESSION_LOGIN, "");
}

static void
session_free(struct imap *im)
{
    imap_append_abort(im);
    imap_deselect(im);
    fetch_memo_free(&im->memo);
    view_batch_free(&im->batch);
    seqset_free(&im->saved);
    buf_free(&im->line);
    arena_free(&im->arena);
}

static void
greet(struct imap *im)
{
    stream_printf(im->out, "* OK [CAPABILITY %s] Mansio ready, session %s\r\n",
                  imap_capabilities(im), im->s->id);
}

/* A client that always has the next command ready is never waited for. */
static bool
login_too_late(struct imap *im)
{
    if (im->state != STATE_NOT_AUTH || sys_monotonic_ms() < im->login_deadline)
        return false;
    imap_bye(im, "Login took too long", "login timeout");
    return true;
}

static bool
wait_for_command(struct imap *im)
{
    int64_t limit;

    if (imap_stopping(im) || login_too_late(im))
        return false;
    if (stream_pending(im->out) > 0)
        return true;
    limit = im->state == STATE_NOT_AUTH
                ? im->login_deadline
                : sys_monotonic_ms() + 1000LL * im->conf->imap_idle_timeout;
    return imap_wait(im, -1, 0, limit) == 1;
}

static void
send_reply(struct imap *im, const struct reply *r)
{
    static const char *const words[] = {" OK ", " NO ", " BAD "};

    if (r->kind == REPLY_NONE)
        return;
    stream_puts(im->out, im->parse.tag != NULL ? im->parse.tag : "*");
    stream_puts(im->out, words[r->kind]);
    stream_puts(im->out, r->text);
    stream_puts(im->out, "\r\n");
}

/* Too many commands that make no sense: not a mail client, or one that will never get on. */
static void
count_bad(struct imap *im, const struct reply *r)
{
    unsigned max = im->state == STATE_NOT_AUTH ? im->conf->login_max_bad_commands
                                               : im->conf->max_bad_commands;

    if (r->kind == REPLY_OK && im->state != STATE_NOT_AUTH)
        im->bad_commands = 0;
    if (r->kind != REPLY_BAD)
        return;
    if (++im->bad_commands >= max)
        imap_bye(im, "Too many bad commands", "too many bad commands");
}

/* A neighbour's changes are always told at the end of a command that permits EXPUNGE; after
   others not while the client has already sent the next one, or a client that pipelines
   thousands of FETCHes pays for thousands of looks at the mailbox. */
static bool
changes_due(struct imap *im, bool expunge)
{
    if (im->view == NULL || (im->command->flags & CMD_NO_SYNC))
        return false;
    if (expunge || stream_pending(im->out) == 0)
        return true;
    return sys_monotonic_ms() - im->synced >= SYNC_INTERVAL;
}

static void
run(struct imap *im, struct reply *r)
{
    bool expunge;

    if (im->parse.args != NULL && (im->command->flags & CMD_NO_ARGS)) {
        *r = reply_bad("This command has no arguments");
        return;
    }
    if (im->reported != im->command->name)
        imap_report(im, SESSION_ACTIVE, im->command->name);
    *r = im->command->handler(im);
    expunge = im->parse.uid || !(im->command->flags & CMD_NO_EXPUNGE);
    if (!im->logout && r->kind != REPLY_BAD && r->kind != REPLY_NONE &&
        changes_due(im, expunge))
        imap_send_changes(im, expunge);
}

/* It may have held a password, in a form that was refused too. */
static void
wipe_command(struct imap *im)
{
    if (im->line.data != NULL)
        secret_wipe(im->line.data, im->line.cap);
    stream_wipe_read(im->out);
    arena_wipe(im->arena);
}

static void
one_command(struct imap *im)
{
    enum imap_state before = im->state;
    struct reply r = {REPLY_NONE, ""};

    im->s->commands++;
    if (imap_read_command(im, &r))
        run(im, &r);
    imap_append_abort(im); /* of a refused APPEND; a finished one has left nothing */
    send_reply(im, &r);
    count_bad(im, &r);
    if (before == STATE_NOT_AUTH)
        wipe_command(im);
    arena_reset(im->arena);
}

void
imap_session(struct session *s)
{
    struct imap im;

    session_begin(&im, s);
    greet(&im);
    arena_reset(im.arena);
    while (!im.logout && stream_error(im.out) == 0 && wait_for_command(&im))
        one_command(&im);
    imap_report(&im, SESSION_CLOSING, NULL);
    if (stream_error(im.out) != 0 && s->end_reason == NULL)
        s->end_reason = session_stream_reason(stream_error(im.out));
    stream_flush(im.out);
    session_free(&im);
    session_end(s);
}

/*
 * Waiting for the client, and ending a session with BYE.
 *
 * A session that waits for long keeps little: after a few quiet seconds the index environment
 * is closed and heap goes back to the system (account_idle()). What comes next opens again.
 */
#include "base/log.h"
#include "base/sys.h"
#include "imap/imap_session.h"

#define REST_AFTER 3000 /* ms of quiet before memory is given back */

void
imap_report(struct imap *im, enum session_state state, const char *command)
{
    if (im->s->report != NULL)
        im->s->report(im->s, state, NULL, command);
    im->reported = command;
}

void
imap_bye(struct imap *im, const char *text, const char *reason)
{
    const char *line;

    if (im->logout)
        return;
    im->logout = true;
    im->s->end_reason = reason;
    line = arena_printf(im->arena, "* BYE %s\r\n", text);
    if (stream_error(im->out) == 0)
        stream_puts(im->out, line);
    else /* a read that timed out must not silence the reason */
        stream_last_words(im->out, line);
}

bool
imap_stopping(struct imap *im)
{
    if (im->s->stopping == NULL || !*im->s->stopping)
        return false;
    imap_bye(im, "[UNAVAILABLE] The server is shutting down", "server stops");
    return true;
}

static void
rest(struct imap *im)
{
    im->resting = true;
    view_batch_free(&im->batch);
    buf_free(&im->line);
    if (im->view != NULL) {
        fetch_memo_free(&im->memo);
        view_idle(im->view);
    }
    stream_trim(im->out);
    if (im->s->account != NULL)
        account_idle(im->s->account);
    imap_report(im, SESSION_IDLE, im->reported);
    im->reported = NULL; /* the next command is reported again */
}

static int64_t
nearer(int64_t a, int64_t b)
{
    if (a == 0)
        return b;
    return b == 0 || a < b ? a : b;
}

static int
timed_out(struct imap *im)
{
    if (im->state == STATE_NOT_AUTH)
        imap_bye(im, "Login took too long", "login timeout");
    else
        imap_bye(im, "Nothing was heard for too long", "idle timeout");
    return -1;
}

int
imap_wait(struct imap *im, int fd, int64_t until, int64_t limit)
{
    int64_t quiet = 0, now, next;
    int r;

    if (im->state != STATE_NOT_AUTH && !im->resting)
        quiet = sys_monotonic_ms() + REST_AFTER;
    for (;;) {
        if (imap_stopping(im))
            return -1;
        next = nearer(nearer(until, limit), quiet);
        r = stream_wait(im->out, fd, next);
        if (r > 0)
            return stream_error(im->out) != 0 && r == 1 ? -1 : r;
        if (r < 0 && stream_error(im->out) != 0)
            return -1;
        now = sys_monotonic_ms();
        if (limit != 0 && now >= limit)
            return timed_out(im);
        if (until != 0 && now >= until)
            return 0;
        if (quiet != 0 && now >= quiet) {
            rest(im);
            quiet = 0;
        }
    }
}

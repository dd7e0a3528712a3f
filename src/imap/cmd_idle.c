/*
 * IDLE (RFC 2177): tells changes of the selected mailbox within milliseconds, by a descriptor
 * that becomes readable when something may have happened (view_watch_begin()); without one
 * (no inotify) by a look every few seconds. Without a selected mailbox it only waits.
 *
 * Nothing is missed in between: the watch begins first, then the mailbox is looked at, then the
 * wait begins.
 */
#include <strings.h>

#include "base/conf.h"
#include "base/err.h"
#include "base/sys.h"
#include "imap/imap_session.h"

#define POLL_MS 5000 /* between two looks where nothing can be watched */

/* Until the client sends something. False: the session is over, BYE was sent. */
static bool
idle(struct imap *im, int watch)
{
    int64_t limit = sys_monotonic_ms() + 1000LL * im->conf->imap_idle_timeout, until;
    int r;

    for (;;) {
        if (!imap_send_changes(im, true))
            return false;
        until = im->view != NULL && watch < 0 ? sys_monotonic_ms() + POLL_MS : 0;
        r = imap_wait(im, watch, until, limit);
        if (r == 1 || r < 0)
            return r == 1;
        if (r == 2) {
            view_watch_drain(im->view);
            im->resting = false;
        }
    }
}

struct reply
cmd_idle(struct imap *im)
{
    int watch = im->view != NULL ? view_watch_begin(im->view) : -1, err = 0;
    bool over;

    fetch_memo_free(&im->memo); /* and its open file */
    stream_puts(im->out, "+ idling\r\n");
    imap_report(im, SESSION_IDLE, im->command->name);
    over = !idle(im, watch);
    if (im->view != NULL)
        view_watch_end(im->view);
    if (!over)
        err = imap_read_plain_line(im);
    if (over || (err != 0 && stream_error(im->out) != 0))
        return (struct reply){REPLY_NONE, ""};
    if (err == 0 && strcasecmp(buf_str(&im->line), "DONE") == 0)
        return reply_ok("IDLE completed");
    /* A command, sent too early: a message in its literal must not be taken for commands. */
    imap_refuse_literal(im);
    return reply_bad("DONE was expected");
}

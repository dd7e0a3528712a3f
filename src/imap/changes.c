/*
 * What happened in the selected mailbox, told to the client: the only caller of view_sync(),
 * so the client's sequence numbers change here and nowhere else (invariant 6).
 *
 * The order matters (RFC 3501 7.3, 7.4.1): EXPUNGEs, each number as of the moment after the
 * ones before; then EXISTS and RECENT; then FLAGS, so that a keyword is known before a message
 * has it; then the changed flags, whose numbers count from after the EXPUNGEs.
 *
 * A view becomes void when its mailbox was deleted or got another UIDVALIDITY. IMAP4rev1 can't
 * say that to a client which has the mailbox selected; carrying on would show it other messages
 * under the old UIDs. The session ends with BYE, so that the client connects and synchronises
 * again.
 */
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "imap/imap_session.h"

static void
send_numbers(struct imap *im, const struct view_changes *c)
{
    const struct view_info *info = view_info(im->view);
    struct buf b = BUF_INIT(SIZE_MAX / 4);

    for (size_t i = 0; i < c->expunged_count; i++) {
        buf_add(&b, "* ", 2);
        buf_addu(&b, c->expunged[i]);
        buf_add(&b, " EXPUNGE\r\n", 10);
    }
    if (c->exists_changed) {
        buf_add(&b, "* ", 2);
        buf_addu(&b, info->exists);
        buf_add(&b, " EXISTS\r\n", 9);
    }
    if (c->recent_changed) {
        buf_add(&b, "* ", 2);
        buf_addu(&b, info->recent);
        buf_add(&b, " RECENT\r\n", 9);
    }
    if (b.len > 0)
        stream_write(im->out, b.data, b.len);
    buf_free(&b);
}

bool
imap_send_changes(struct imap *im, bool expunge)
{
    struct view_changes c = {0};
    int err;

    if (im->view == NULL)
        return true;
    err = view_sync(im->view, expunge, &c);
    if (err == ERR_GONE) {
        log_info("selected mailbox %s was deleted or made anew", view_name(im->view));
        imap_bye(im, "[UNAVAILABLE] The selected mailbox was deleted or made anew",
                 "selected mailbox is gone");
        return false;
    }
    if (err != 0)
        return true; /* logged by the store; the client's view stays as it was */
    im->synced = sys_monotonic_ms();
    send_numbers(im, &c);
    if (c.keywords_changed)
        imap_send_flag_lists(im, true);
    imap_send_flags(im, &c.flags, im->parse.uid);
    view_changes_free(&c);
    return true;
}

void
imap_deselect(struct imap *im)
{
    if (im->view == NULL)
        return;
    fetch_memo_free(&im->memo);
    view_cache_flush(im->view);
    view_close(&im->view);
    seqset_clear(&im->saved);
    im->state = STATE_AUTH;
}

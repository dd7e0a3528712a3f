/*
 * Into and out of the selected state: SELECT, EXAMINE, CHECK, CLOSE (RFC 3501 6.3.1, 6.3.2,
 * 6.4.1, 6.4.2), UNSELECT (RFC 3691).
 */
#include "base/err.h"
#include "imap/imap_session.h"

static void
add_number(struct buf *b, const char *before, uint64_t n, const char *after)
{
    buf_adds(b, before);
    buf_addu(b, n);
    buf_adds(b, after);
}

/* RFC 3501 6.3.1: what a client must be told of a mailbox before it can work with it. */
static void
describe(struct imap *im)
{
    const struct view_info *info = view_info(im->view);
    struct buf b = BUF_INIT(4096);

    imap_send_flag_lists(im, true);
    add_number(&b, "* ", info->exists, " EXISTS\r\n");
    add_number(&b, "* ", info->recent, " RECENT\r\n");
    if (info->first_unseen != 0)
        add_number(&b, "* OK [UNSEEN ", info->first_unseen, "] First unseen message\r\n");
    add_number(&b, "* OK [UIDVALIDITY ", info->uidvalidity, "] UIDs are valid\r\n");
    add_number(&b, "* OK [UIDNEXT ", info->uidnext, "] Next UID\r\n");
    stream_write(im->out, b.data, b.len);
    buf_free(&b);
}

/* A failed SELECT leaves the selected state too; one that can't be parsed doesn't. */
static struct reply
open_mailbox(struct imap *im, unsigned flags, const char *done)
{
    const struct token *arg = im->parse.args;
    const char *name;
    int err;

    if (!token_is_astring(arg) || arg->next != NULL)
        return reply_bad("A mailbox name is needed, and nothing else");
    imap_deselect(im);
    err = imap_read_mailbox(im, arg, false, &name);
    if (err == 0)
        err = view_open(im->s->account, name, flags, &im->view);
    if (err != 0)
        return reply_err(err == ERR_CANNOT ? ERR_NOENT : err);
    im->state = STATE_SELECTED;
    describe(im);
    return reply_ok(done);
}

struct reply
cmd_select(struct imap *im)
{
    struct reply r = open_mailbox(im, 0, "[READ-WRITE] SELECT completed");

    if (r.kind == REPLY_OK && view_info(im->view)->readonly)
        return reply_ok("[READ-ONLY] SELECT completed");
    return r;
}

struct reply
cmd_examine(struct imap *im)
{
    return open_mailbox(im, VIEW_READONLY, "[READ-ONLY] EXAMINE completed");
}

struct reply
cmd_check(struct imap *im)
{
    view_cache_flush(im->view);
    return reply_ok("CHECK completed");
}

struct reply
cmd_close(struct imap *im)
{
    int err = 0;

    if (!view_info(im->view)->readonly)
        err = view_expunge(im->view, NULL, false, NULL);
    if (err != 0)
        return reply_err(err);
    imap_deselect(im);
    return reply_ok("CLOSE completed");
}

struct reply
cmd_unselect(struct imap *im)
{
    imap_deselect(im);
    return reply_ok("UNSELECT completed");
}

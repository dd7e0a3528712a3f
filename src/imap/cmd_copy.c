/*
 * COPY and MOVE with their UID forms (RFC 3501 6.4.7, RFC 6851), COPYUID (RFC 4315 3).
 *
 * MOVE tells COPYUID in an untagged OK before the EXPUNGEs (RFC 6851 4.3); those come with the
 * changes of the view, at the command's end. Messages that another session expunged are left
 * out: COPYUID says which ones were copied. When nothing is left, the sequence-number form says
 * NO [EXPUNGEISSUED].
 */
#include "base/err.h"
#include "imap/imap_session.h"

#define CODE_MAX (16u << 20) /* octets of a COPYUID: 2 sets of up to a million ranges */

/* "[COPYUID 38505 304,319:320 3956:3958] " in the arena; "" if hidden. */
static const char *
copyuid(struct imap *im, uint32_t uidvalidity, const struct seqset *src,
        const struct seqset *dst)
{
    struct buf b = BUF_INIT(CODE_MAX);
    const char *text = "";

    if (imap_hidden(im, "UIDPLUS"))
        return text;
    buf_adds(&b, "[COPYUID ");
    buf_addu(&b, uidvalidity);
    buf_addc(&b, ' ');
    seqset_write(src, &b);
    buf_addc(&b, ' ');
    seqset_write(dst, &b);
    buf_adds(&b, "] ");
    if (buf_ok(&b))
        text = arena_memdup(im->arena, buf_str(&b), b.len);
    buf_free(&b);
    return text;
}

static struct reply
nothing_left(struct imap *im, bool some_gone)
{
    if (some_gone && !im->parse.uid)
        return reply_no("[EXPUNGEISSUED] The messages were expunged meanwhile");
    return reply_ok("No messages, so nothing was done");
}

static struct reply
transfer(struct imap *im, const struct seqset *uids, const char *to, bool move)
{
    struct seqset src, dst;
    uint32_t uidvalidity;
    bool some_gone = false;
    struct reply r;
    int err;

    seqset_init(&src);
    seqset_init(&dst);
    err = view_copy(im->view, uids, to, move, &uidvalidity, &src, &dst, &some_gone);
    if (err != 0) {
        r = reply_target(err);
    } else if (src.count == 0) {
        r = nothing_left(im, some_gone);
    } else if (move) {
        stream_puts(im->out, "* OK ");
        stream_puts(im->out, copyuid(im, uidvalidity, &src, &dst));
        stream_puts(im->out, "Moved\r\n");
        r = reply_ok("MOVE completed");
    } else {
        r = reply_ok(
            arena_printf(im->arena, "%sCOPY completed", copyuid(im, uidvalidity, &src, &dst)));
    }
    seqset_free(&src);
    seqset_free(&dst);
    return r;
}

static struct reply
copy_or_move(struct imap *im, bool move)
{
    const struct token *arg = im->parse.args;
    struct seqset uids;
    const char *to;
    struct reply r;
    int err;

    if (arg == NULL || !token_is_astring(arg->next) || arg->next->next != NULL)
        return reply_bad("A set of messages and a mailbox are needed");
    seqset_init(&uids);
    err = imap_read_set(im, arg, im->parse.uid, &uids);
    if (err != 0)
        r = reply_err(err);
    else if (move && view_info(im->view)->readonly)
        r = reply_err(ERR_READONLY);
    else if ((err = imap_read_mailbox(im, arg->next, false, &to)) != 0)
        r = reply_err(err);
    else
        r = uids.count > 0 ? transfer(im, &uids, to, move) : nothing_left(im, false);
    seqset_free(&uids);
    return r;
}

struct reply
cmd_copy(struct imap *im)
{
    return copy_or_move(im, false);
}

struct reply
cmd_move(struct imap *im)
{
    return copy_or_move(im, true);
}

/*
 * GETQUOTA and GETQUOTAROOT (RFC 9208; RFC 2087 has the same). A user has one quota root, for
 * all mailboxes, or none. SETQUOTA isn't offered: limits are the administrator's.
 *
 * STORAGE counts kilobytes, and is rounded up, so that a limit below one isn't told as none.
 */
#include <string.h>

#include "base/err.h"
#include "imap/imap_session.h"
#include "store/quota.h"

#define ROOT "user"

static void
add_resource(struct buf *out, const char *name, uint64_t used, uint64_t limit)
{
    if (limit == 0)
        return;
    buf_addf(out, "%s%s %llu %llu", out->data[out->len - 1] == '(' ? "" : " ", name,
             (unsigned long long)used, (unsigned long long)limit);
}

static uint64_t
kilobytes(uint64_t octets)
{
    return octets / 1024 + (octets % 1024 != 0);
}

static void
send_quota(struct imap *im, const struct quota_usage *u)
{
    struct buf line = BUF_INIT(256);

    buf_adds(&line, "* QUOTA " ROOT " (");
    add_resource(&line, "STORAGE", kilobytes(u->bytes), kilobytes(u->limit.bytes));
    add_resource(&line, "MESSAGE", u->messages, u->limit.messages);
    buf_adds(&line, ")\r\n");
    stream_write(im->out, line.data, line.len);
    buf_free(&line);
}

/* Without a limit nothing is counted: there is no root then. */
static int
usage(struct imap *im, struct quota_usage *u)
{
    memset(u, 0, sizeof *u);
    return quota_applies(im->s->account) ? quota_usage(im->s->account, u) : 0;
}

struct reply
cmd_getquota(struct imap *im)
{
    const struct token *arg = im->parse.args;
    struct quota_usage u;
    int err;

    if (!token_is_astring(arg) || arg->next != NULL)
        return reply_bad("GETQUOTA needs the name of a quota root");
    err = usage(im, &u);
    if (err != 0)
        return reply_err(err);
    if (arg->len != strlen(ROOT) || memcmp(arg->text, ROOT, arg->len) != 0 ||
        quota_is_none(&u.limit))
        return reply_no("[NONEXISTENT] No such quota root");
    send_quota(im, &u);
    return reply_ok("GETQUOTA completed");
}

struct reply
cmd_getquotaroot(struct imap *im)
{
    const struct token *arg = im->parse.args;
    struct buf line = BUF_INIT(8192);
    struct quota_usage u;
    const char *name;
    int err;

    if (!token_is_astring(arg) || arg->next != NULL)
        return reply_bad("GETQUOTAROOT needs a mailbox");
    err = imap_read_mailbox(im, arg, false, &name); /* it needn't exist */
    if (err == 0)
        err = usage(im, &u);
    if (err != 0)
        return reply_err(err);
    buf_adds(&line, "* QUOTAROOT ");
    imap_write_mailbox(im, name, &line);
    buf_adds(&line, quota_is_none(&u.limit) ? "\r\n" : " " ROOT "\r\n");
    stream_write(im->out, line.data, line.len);
    buf_free(&line);
    if (!quota_is_none(&u.limit))
        send_quota(im, &u);
    return reply_ok("GETQUOTAROOT completed");
}

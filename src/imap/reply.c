/*
 * Tagged replies: from texts, and from result codes by one table (RFC 3501 7.1, RFC 5530).
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "imap/imap_session.h"

static const struct {
    int err;
    enum reply_kind kind;
    const char *text;
} error_replies[] = {
    {ERR_EOF, REPLY_NO, "The data ended too early"},
    {ERR_TIMEOUT, REPLY_NO, "[UNAVAILABLE] It took too long"},
    {ERR_IO, REPLY_NO, "[SERVERBUG] Input or output error, see the server's log"},
    {ERR_LIMIT, REPLY_NO, "[LIMIT] A limit of this server was passed"},
    {ERR_SYNTAX, REPLY_BAD, "Error in the arguments"},
    {ERR_RANGE, REPLY_BAD, "No such message number"},
    {ERR_NOENT, REPLY_NO, "[NONEXISTENT] No such mailbox"},
    {ERR_EXISTS, REPLY_NO, "[ALREADYEXISTS] The mailbox exists already"},
    {ERR_PERM, REPLY_NO, "[NOPERM] Permission denied"},
    {ERR_NOSPACE, REPLY_NO, "[UNAVAILABLE] The server's disk is full"},
    {ERR_QUOTA, REPLY_NO, "[OVERQUOTA] Over quota"},
    {ERR_BUSY, REPLY_NO, "[INUSE] The mailbox is busy, try again"},
    {ERR_TEMP, REPLY_NO, "[UNAVAILABLE] Temporary failure, try again later"},
    {ERR_CORRUPT, REPLY_NO, "[CORRUPTION] Stored data is damaged, see the server's log"},
    {ERR_GONE, REPLY_NO, "[EXPUNGEISSUED] The message was expunged"},
    {ERR_CANNOT, REPLY_NO, "[CANNOT] This is not possible"},
    {ERR_READONLY, REPLY_NO, "[READ-ONLY] The mailbox is open read-only"},
    {ERR_AUTH, REPLY_NO, "[AUTHENTICATIONFAILED] Wrong user name or password"},
    {ERR_UNSUPPORTED, REPLY_NO, "[CANNOT] Not supported"},
    {ERR_INUSE, REPLY_NO, "[INUSE] In use"},
    {ERR_SHORT, REPLY_NO, "[UNAVAILABLE] The server is short of resources"},
};

struct reply
reply_ok(const char *text)
{
    return (struct reply){REPLY_OK, text};
}

struct reply
reply_no(const char *text)
{
    return (struct reply){REPLY_NO, text};
}

struct reply
reply_bad(const char *text)
{
    return (struct reply){REPLY_BAD, text};
}

struct reply
reply_okf(struct imap *im, const char *fmt, ...)
{
    struct buf b = BUF_INIT(65536);
    struct reply r = {REPLY_OK, "Done"};
    va_list ap;

    va_start(ap, fmt);
    buf_vaddf(&b, fmt, ap);
    va_end(ap);
    if (buf_ok(&b))
        r.text = arena_memdup(im->arena, buf_str(&b), b.len);
    buf_free(&b);
    return r;
}

struct reply
reply_err(int err)
{
    for (size_t i = 0; i < sizeof error_replies / sizeof error_replies[0]; i++)
        if (error_replies[i].err == err)
            return (struct reply){error_replies[i].kind, error_replies[i].text};
    return reply_no("[SERVERBUG] Internal error, see the server's log");
}

struct reply
reply_target(int err)
{
    if (err == ERR_NOENT)
        return reply_no("[TRYCREATE] No such mailbox");
    return reply_err(err);
}

/*
 * APPEND (RFC 3501 6.3.11) of one or several messages, all or none (RFC 3502), with APPENDUID
 * (RFC 4315) and the append limit (RFC 7889).
 *
 * A message is never in memory: its literal goes from the stream into the store while the
 * command is still being read (imap_append_literal(), called by input.c at each message
 * literal); the handler at the command's end commits. Whatever goes wrong on the way, the rest
 * of the command is read and thrown away, unless the client waits to be asked for it.
 */
#include "base/conf.h"
#include "base/err.h"
#include "format/imapdate.h"
#include "imap/imap_session.h"

struct imap_append {
    struct append *store;
    const struct token *last; /* what stands for the last message in the arguments */
    uint64_t count;
};

void
imap_append_abort(struct imap *im)
{
    if (im->append != NULL)
        append_abort(&im->append->store);
    im->append = NULL; /* the arena's */
}

static bool
begin(struct imap *im, struct reply *reply)
{
    struct append *store = NULL;
    const char *name;
    int err = imap_read_mailbox(im, im->parse.args, false, &name);

    if (err != 0) { /* a name that CREATE refuses too: no TRYCREATE */
        *reply = reply_err(err);
        return false;
    }
    err = append_begin(im->s->account, name, &store);
    if (err != 0) {
        *reply = reply_target(err);
        return false;
    }
    im->append = arena_calloc(im->arena, 1, sizeof *im->append);
    im->append->store = store;
    return true;
}

/* [SP flag-list] [SP date-time], then the literal must come. */
static bool
read_arguments(struct imap *im, const struct token *t, struct flag_set *flags, int64_t *date,
               struct reply *reply)
{
    int err = imap_read_flag_tokens(im, NULL, flags);

    *date = INT64_MIN;
    if (err == 0 && t != NULL && t->type == TOKEN_LIST) {
        err = imap_read_flags(im, t, flags);
        t = t->next;
    }
    if (err == 0 && t != NULL && t->type == TOKEN_STRING && !t->literal) {
        err = imapdate_parse_datetime(t->text, t->len, date);
        t = t->next;
    }
    if (err == ERR_LIMIT)
        *reply = reply_no("[LIMIT] Too many flags");
    else if (err != 0 || t != NULL)
        *reply = reply_bad("APPEND needs a mailbox and, for each message, flags, a date and "
                           "a literal, in this order");
    return err == 0 && t == NULL;
}

/* What can be said before the data came. */
static bool
acceptable(struct imap *im, struct reply *reply)
{
    int err;

    if (im->parse.literal_size == 0) { /* RFC 3502 6.3.11: also a way to cancel */
        *reply = reply_no("APPEND cancelled: the message is empty");
        return false;
    }
    if (im->parse.literal_size > im->conf->append_limit) {
        *reply = reply_no("[TOOBIG] The message is larger than APPENDLIMIT");
        return false;
    }
    err = append_room(im->append->store, im->parse.literal_size);
    if (err != 0) {
        *reply = reply_err(err);
        return false;
    }
    return true;
}

/* Reads the data. False: *reply says why not, and the command was read to its end. */
static bool
take(struct imap *im, const struct flag_set *flags, int64_t date, struct reply *reply)
{
    struct imap_literal l;
    int err;

    imap_literal_go(im);
    imap_literal_init(&l, im, im->parse.literal_size);
    err = append_add(im->append->store, &l.source, flags, date);
    if (stream_error(im->out) != 0 || im->logout) {
        reply->kind = REPLY_NONE;
        return false;
    }
    if (err == 0 && l.left == 0)
        return true;
    if (imap_literal_drop(&l))
        imap_skip_command(im);
    *reply = reply_target(err != 0 ? err : ERR_IO);
    return false;
}

bool
imap_append_literal(struct imap *im, struct reply *reply)
{
    const struct token *t;
    struct flag_set flags;
    int64_t date;

    if (im->append == NULL && !begin(im, reply)) {
        imap_refuse_literal(im);
        return false;
    }
    t = im->append->last != NULL ? im->append->last->next : im->parse.args->next;
    if (!read_arguments(im, t, &flags, &date, reply) || !acceptable(im, reply)) {
        imap_refuse_literal(im);
        return false;
    }
    if (!take(im, &flags, date, reply))
        return false;
    imapparse_literal_taken(&im->parse);
    for (t = im->append->last != NULL ? im->append->last : im->parse.args; t->next != NULL;)
        t = t->next;
    im->append->last = t;
    im->append->count++;
    return true;
}

struct reply
cmd_append(struct imap *im)
{
    struct imap_append *a = im->append;
    uint32_t uidvalidity, first;
    int err;

    if (a == NULL || a->last->next != NULL)
        return reply_bad("APPEND needs a mailbox and a message as literal");
    err = append_commit(&a->store, &uidvalidity, &first);
    if (err != 0)
        return reply_target(err);
    if (imap_hidden(im, "UIDPLUS"))
        return reply_ok("APPEND completed");
    if (a->count == 1)
        return reply_okf(im, "[APPENDUID %u %u] APPEND completed", uidvalidity, first);
    return reply_okf(im, "[APPENDUID %u %u:%u] APPEND completed", uidvalidity, first,
                     (uint32_t)(first + a->count - 1));
}

/*
 * STATUS (RFC 3501 6.3.10) with SIZE (RFC 8438), APPENDLIMIT (RFC 7889 3.1), DELETED and
 * DELETED-STORAGE (RFC 9208 4.1.4); the same for LIST-STATUS (RFC 5819).
 */
#include <strings.h>

#include "base/conf.h"
#include "base/err.h"
#include "imap/imap_session.h"

enum {
    ITEM_MESSAGES = 1,
    ITEM_RECENT = 2,
    ITEM_UIDNEXT = 4,
    ITEM_UIDVALIDITY = 8,
    ITEM_UNSEEN = 16,
    ITEM_SIZE = 32,
    ITEM_APPENDLIMIT = 64,
    ITEM_DELETED = 128,
    ITEM_DELETED_STORAGE = 256
};

static const struct {
    const char *name;
    unsigned bit;
} items_known[] = {
    {"MESSAGES", ITEM_MESSAGES},
    {"RECENT", ITEM_RECENT},
    {"UIDNEXT", ITEM_UIDNEXT},
    {"UIDVALIDITY", ITEM_UIDVALIDITY},
    {"UNSEEN", ITEM_UNSEEN},
    {"SIZE", ITEM_SIZE},
    {"APPENDLIMIT", ITEM_APPENDLIMIT},
    {"DELETED", ITEM_DELETED},
    {"DELETED-STORAGE", ITEM_DELETED_STORAGE},
};
#define ITEMS_KNOWN (sizeof items_known / sizeof items_known[0])

static unsigned
item_bit(const struct token *t)
{
    for (size_t i = 0; i < ITEMS_KNOWN; i++)
        if (token_is_atom(t, items_known[i].name))
            return items_known[i].bit;
    return 0;
}

int
imap_read_status_items(struct imap *im, const struct token *list, unsigned *items)
{
    unsigned bit;

    (void)im;
    *items = 0;
    if (list == NULL || list->type != TOKEN_LIST || list->list == NULL)
        return ERR_SYNTAX;
    for (const struct token *t = list->list; t != NULL; t = t->next) {
        bit = item_bit(t);
        if (bit == 0)
            return ERR_SYNTAX;
        *items |= bit;
    }
    return 0;
}

static uint64_t
item_value(const struct imap *im, const struct mailbox_status *st, uint64_t deleted_bytes,
           unsigned bit)
{
    switch (bit) {
    case ITEM_MESSAGES:
        return st->messages;
    case ITEM_RECENT:
        return st->recent;
    case ITEM_UIDNEXT:
        return st->uidnext;
    case ITEM_UIDVALIDITY:
        return st->uidvalidity;
    case ITEM_UNSEEN:
        return st->unseen;
    case ITEM_SIZE:
        return st->crlf_bytes;
    case ITEM_DELETED:
        return st->deleted;
    case ITEM_DELETED_STORAGE:
        return deleted_bytes;
    default:
        return im->conf->append_limit;
    }
}

bool
imap_status_needs_size(unsigned items)
{
    return (items & ITEM_SIZE) != 0;
}

int
imap_write_status(struct imap *im, const char *internal, unsigned items,
                  const struct mailbox_status *st, struct buf *out)
{
    uint64_t deleted_bytes = 0;
    char before = '(';
    int err = 0;

    if ((items & ITEM_DELETED_STORAGE) != 0 && st->deleted > 0)
        err = mailbox_deleted_bytes(im->s->account, internal, &deleted_bytes);
    if (err != 0)
        return err;
    buf_adds(out, "* STATUS ");
    imap_write_mailbox(im, internal, out);
    buf_addc(out, ' ');
    for (size_t i = 0; i < ITEMS_KNOWN; i++) {
        if (!(items & items_known[i].bit))
            continue;
        buf_addc(out, before);
        buf_adds(out, items_known[i].name);
        buf_addc(out, ' ');
        buf_addu(out, item_value(im, st, deleted_bytes, items_known[i].bit));
        before = ' ';
    }
    buf_adds(out, ")\r\n");
    return 0;
}

struct reply
cmd_status(struct imap *im)
{
    const struct token *arg = im->parse.args;
    struct buf line = BUF_INIT(8192);
    struct mailbox_status st;
    const char *name;
    unsigned items;
    int err;

    if (!token_is_astring(arg) || imap_read_status_items(im, arg->next, &items) != 0 ||
        arg->next->next != NULL)
        return reply_bad("STATUS needs a mailbox and a list of items that it knows");
    err = imap_read_mailbox(im, arg, false, &name);
    if (err == 0)
        err = mailbox_status(im->s->account, name, imap_status_needs_size(items), &st);
    if (err == 0)
        err = imap_write_status(im, name, items, &st, &line);
    if (err == 0)
        stream_write(im->out, line.data, line.len);
    buf_free(&line);
    if (err == ERR_CANNOT)
        err = ERR_NOENT; /* a name that can't be is a name that isn't there */
    return err == 0 ? reply_ok("STATUS completed") : reply_err(err);
}

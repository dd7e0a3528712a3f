/*
 * ENVELOPE of a header block (RFC 3501 7.4.2): date, subject, from, sender, reply-to, to, cc,
 * bcc, in-reply-to, message-id.
 *
 * Strings are the unfolded values as they are (encoded words too). Of a field that may stand
 * once, the first one counts; address fields that are repeated are put together.
 */
#include <string.h>
#include <strings.h>

#include "format/address.h"
#include "format/envelope.h"
#include "format/header.h"
#include "format/imapparse.h"
#include "format/mime.h"

static const struct {
    const char *name;
    size_t len;
} items[ENVELOPE_ITEMS] = {
    [ITEM_DATE] = {"Date", 4},
    [ITEM_SUBJECT] = {"Subject", 7},
    [ITEM_FROM] = {"From", 4},
    [ITEM_SENDER] = {"Sender", 6},
    [ITEM_REPLY_TO] = {"Reply-To", 8},
    [ITEM_TO] = {"To", 2},
    [ITEM_CC] = {"Cc", 2},
    [ITEM_BCC] = {"Bcc", 3},
    [ITEM_IN_REPLY_TO] = {"In-Reply-To", 11},
    [ITEM_MESSAGE_ID] = {"Message-ID", 10},
};

void
envelope_begin(struct envelope *e, const char *header, size_t len,
               const struct mime_limits *limits)
{
    e->header = header;
    e->len = len;
    e->limits = limits;
    for (size_t i = 0; i < ENVELOPE_ITEMS; i++)
        e->found[i].count = 0;
}

void
envelope_field(struct envelope *e, const struct header_field *f, size_t pos)
{
    size_t i;

    for (i = 0; i < ENVELOPE_ITEMS; i++)
        if (f->name_len == items[i].len && ((f->name[0] ^ items[i].name[0]) & ~0x20) == 0 &&
            strncasecmp(f->name, items[i].name, f->name_len) == 0)
            break;
    if (i == ENVELOPE_ITEMS || e->found[i].count++ > 0)
        return;
    e->found[i].field = *f;
    e->found[i].pos = pos;
}

struct writer {
    const struct envelope *e;
    struct buf *out;
};

/* RFC 3501 7.4.2: NIL when the field is absent, "" when it is empty. */
static void
write_text(struct writer *w, enum envelope_item item)
{
    const struct header_field *f = &w->e->found[item].field;
    char small[512];
    struct buf large = BUF_INIT(f->value_len);
    char *to = small;
    size_t i = 0, end = f->value_len, n = 0;

    if (w->e->found[item].count == 0) {
        buf_adds(w->out, "NIL");
        return;
    }
    if (end > sizeof small)
        to = buf_room(&large, end);
    while (i < end && strchr(" \t\r\n", f->value[i]) != NULL)
        i++;
    for (; i < end; i++)
        if (f->value[i] != '\r' && f->value[i] != '\n' && f->value[i] != '\0')
            to[n++] = f->value[i];
    while (n > 0 && (to[n - 1] == ' ' || to[n - 1] == '\t'))
        n--;
    imap_write_string(w->out, to, n);
    buf_free(&large);
}

/* False, and nothing written, when there are no addresses. */
static bool
write_addresses(struct writer *w, enum envelope_item item)
{
    struct header_field f = w->e->found[item].field;
    size_t pos = w->e->found[item].pos, start = w->out->len;
    unsigned left = w->e->limits->max_addresses, count = w->e->found[item].count, fields = 0;

    if (count == 0)
        return false;
    buf_addc(w->out, '(');
    for (;;) {
        address_write_list(f.value, f.value_len, &left, w->out);
        if (--count == 0)
            break;
        do {
            if (fields++ >= w->e->limits->max_headers ||
                !header_next(w->e->header, w->e->len, &pos, &f)) {
                count = 1;
                f.value_len = 0;
                break;
            }
        } while (!header_name_is(&f, items[item].name));
    }
    if (w->out->len == start + 1) {
        buf_cut(w->out, start);
        return false;
    }
    buf_addc(w->out, ')');
    return true;
}

static void
write_addresses_or_nil(struct writer *w, enum envelope_item item)
{
    if (!write_addresses(w, item))
        buf_adds(w->out, "NIL");
}

/* Sender and Reply-To default to From (RFC 3501 7.4.2), whose bytes are copied. */
static void
write_originators(struct writer *w)
{
    size_t from = w->out->len, len;
    char *to;

    write_addresses_or_nil(w, ITEM_FROM);
    len = w->out->len - from;
    for (enum envelope_item item = ITEM_SENDER; item <= ITEM_REPLY_TO; item++) {
        buf_addc(w->out, ' ');
        if (write_addresses(w, item))
            continue;
        to = buf_room(w->out, len); /* may move the data */
        if (to == NULL)
            return;
        memcpy(to, w->out->data + from, len);
        buf_added(w->out, len);
    }
}

void
envelope_end(struct envelope *e, struct buf *out)
{
    struct writer w = {e, out};

    buf_addc(out, '(');
    write_text(&w, ITEM_DATE);
    buf_addc(out, ' ');
    write_text(&w, ITEM_SUBJECT);
    buf_addc(out, ' ');
    write_originators(&w);
    for (enum envelope_item item = ITEM_TO; item <= ITEM_BCC; item++) {
        buf_addc(out, ' ');
        write_addresses_or_nil(&w, item);
    }
    buf_addc(out, ' ');
    write_text(&w, ITEM_IN_REPLY_TO);
    buf_addc(out, ' ');
    write_text(&w, ITEM_MESSAGE_ID);
    buf_addc(out, ')');
}

void
envelope_write(const char *header, size_t len, const struct mime_limits *limits,
               struct buf *out)
{
    struct envelope e;
    struct header_field f;
    size_t pos = 0;
    unsigned fields = 0;

    envelope_begin(&e, header, len, limits);
    while (fields++ < limits->max_headers && header_next(header, len, &pos, &f))
        envelope_field(&e, &f, pos);
    envelope_end(&e, out);
}

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
#include "format/header.h"
#include "format/imapparse.h"
#include "format/mime.h"

enum item {
    ITEM_DATE,
    ITEM_SUBJECT,
    ITEM_FROM,
    ITEM_SENDER,
    ITEM_REPLY_TO,
    ITEM_TO,
    ITEM_CC,
    ITEM_BCC,
    ITEM_IN_REPLY_TO,
    ITEM_MESSAGE_ID,
    ITEM_COUNT
};

static const struct {
    const char *name;
    size_t len;
} items[ITEM_COUNT] = {
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

struct found {
    struct header_field field;
    size_t pos;     /* behind it in the block */
    unsigned count; /* how many there are */
};

struct writer {
    const char *header;
    size_t len;
    const struct mime_limits *limits;
    struct buf *out;
    struct found found[ITEM_COUNT];
};

static void
find_fields(struct writer *w)
{
    struct header_field f;
    size_t pos = 0, i;
    unsigned fields = 0;

    while (fields++ < w->limits->max_headers && header_next(w->header, w->len, &pos, &f)) {
        for (i = 0; i < ITEM_COUNT; i++)
            if (f.name_len == items[i].len &&
                strncasecmp(f.name, items[i].name, f.name_len) == 0)
                break;
        if (i == ITEM_COUNT || w->found[i].count++ > 0)
            continue;
        w->found[i].field = f;
        w->found[i].pos = pos;
    }
}

/* RFC 3501 7.4.2: NIL when the field is absent, "" when it is empty. */
static void
write_text(struct writer *w, enum item item)
{
    const struct header_field *f = &w->found[item].field;
    char small[512];
    struct buf large = BUF_INIT(f->value_len);
    char *to = small;
    size_t i = 0, end = f->value_len, n = 0;

    if (w->found[item].count == 0) {
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
write_addresses(struct writer *w, enum item item)
{
    struct header_field f = w->found[item].field;
    size_t pos = w->found[item].pos, start = w->out->len;
    unsigned left = w->limits->max_addresses, count = w->found[item].count, fields = 0;

    if (count == 0)
        return false;
    buf_addc(w->out, '(');
    for (;;) {
        address_write_list(f.value, f.value_len, &left, w->out);
        if (--count == 0)
            break;
        do {
            if (fields++ >= w->limits->max_headers ||
                !header_next(w->header, w->len, &pos, &f)) {
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
write_addresses_or_nil(struct writer *w, enum item item)
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
    for (enum item item = ITEM_SENDER; item <= ITEM_REPLY_TO; item++) {
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
envelope_write(const char *header, size_t len, const struct mime_limits *limits,
               struct buf *out)
{
    struct writer w = {.header = header, .len = len, .limits = limits, .out = out};

    find_fields(&w);
    buf_addc(out, '(');
    write_text(&w, ITEM_DATE);
    buf_addc(out, ' ');
    write_text(&w, ITEM_SUBJECT);
    buf_addc(out, ' ');
    write_originators(&w);
    for (enum item item = ITEM_TO; item <= ITEM_BCC; item++) {
        buf_addc(out, ' ');
        write_addresses_or_nil(&w, item);
    }
    buf_addc(out, ' ');
    write_text(&w, ITEM_IN_REPLY_TO);
    buf_addc(out, ' ');
    write_text(&w, ITEM_MESSAGE_ID);
    buf_addc(out, ')');
}

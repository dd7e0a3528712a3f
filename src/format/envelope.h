/*
 * ENVELOPE in steps, for who walks a header block anyway; envelope_write() in mime.h is the
 * whole.
 */
#ifndef FORMAT_ENVELOPE_H
#define FORMAT_ENVELOPE_H

#include "base/buf.h"
#include "format/header.h"
#include "format/mime.h"

/* In the order of the wire. */
enum envelope_item {
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
    ENVELOPE_ITEMS
};

struct envelope {
    const char *header;
    size_t len;
    const struct mime_limits *limits;
    struct {
        struct header_field field; /* the first of its name */
        size_t pos;                /* behind it in the block */
        unsigned count;            /* how many there are */
    } found[ENVELOPE_ITEMS];
};

/* The block must stay as it is until envelope_end(). */
void envelope_begin(struct envelope *e, const char *header, size_t len,
                    const struct mime_limits *limits);
/* Each field in order; pos: behind it, as header_next() left it. */
void envelope_field(struct envelope *e, const struct header_field *f, size_t pos);
void envelope_end(struct envelope *e, struct buf *out);

#endif

/*
 * Flags towards the client: flag lists, untagged FETCH responses that only tell flags.
 *
 * STORE over a whole mailbox and a neighbour's changes are told here: lines are
 * put together in a buffer, batch by batch, without printf.
 */
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "imap/imap_session.h"

#define LINES_MAX   (1024u * 1024) /* octets of one batch's lines */
#define LINES_FLUSH 32768          /* collected octets that go to the stream */

/* The order of RFC 3501's examples. MSG_PASSED is Maildir's letter P, for which clients have
   the keyword $Forwarded (RFC 5788): it's always known, and shown once, wherever it came from.
 */
#define FORWARDED "$Forwarded"

static const struct {
    unsigned bit;
    const char *text;
    size_t len;
} flag_texts[] = {
    {MSG_ANSWERED, "\\Answered ", 10}, {MSG_FLAGGED, "\\Flagged ", 9},
    {MSG_DELETED, "\\Deleted ", 9},    {MSG_SEEN, "\\Seen ", 6},
    {MSG_DRAFT, "\\Draft ", 7},        {MSG_PASSED, FORWARDED " ", 11},
};

void
imap_write_flags(struct imap *im, unsigned flags, uint64_t keywords, bool recent,
                 struct buf *out)
{
    const struct view_info *info = view_info(im->view);
    size_t start;

    buf_addc(out, '(');
    start = out->len;
    for (size_t i = 0; i < sizeof flag_texts / sizeof flag_texts[0]; i++)
        if (flags & flag_texts[i].bit)
            buf_add(out, flag_texts[i].text, flag_texts[i].len);
    for (size_t i = 0; keywords != 0 && i < info->keywords_count; i++, keywords >>= 1)
        if ((keywords & 1) && info->keywords[i] != NULL &&
            !((flags & MSG_PASSED) && strcasecmp(info->keywords[i], FORWARDED) == 0)) {
            buf_adds(out, info->keywords[i]);
            buf_addc(out, ' ');
        }
    if (recent)
        buf_add(out, "\\Recent ", 8);
    if (out->len > start)
        buf_cut(out, out->len - 1); /* the last blank */
    buf_addc(out, ')');
}

static void
flags_line(struct imap *im, uint32_t seq, const struct view_stored *s, bool recent,
           bool with_uid, struct buf *out)
{
    buf_add(out, "* ", 2);
    buf_addu(out, seq);
    buf_add(out, " FETCH (", 8);
    if (with_uid) {
        buf_add(out, "UID ", 4);
        buf_addu(out, s->uid);
        buf_addc(out, ' ');
    }
    buf_add(out, "FLAGS ", 6);
    imap_write_flags(im, s->flags, s->keywords, recent, out);
    buf_add(out, ")\r\n", 3);
}

void
imap_send_stored(struct imap *im, const struct view_stored *stored, size_t count, bool with_uid)
{
    struct buf lines = BUF_INIT(LINES_MAX);

    for (size_t i = 0; i < count; i++) {
        uint32_t seq = view_seq(im->view, stored[i].uid);

        if (seq != 0)
            flags_line(im, seq, &stored[i], view_is_recent(im->view, stored[i].uid), with_uid,
                       &lines);
        if (lines.len < LINES_FLUSH && i + 1 < count)
            continue;
        stream_write(im->out, lines.data, lines.len);
        buf_reset(&lines);
    }
    buf_free(&lines);
}

void
imap_send_flags(struct imap *im, const struct seqset *uids, bool with_uid)
{
    struct seqset_iter it = {0};
    struct buf lines = BUF_INIT(LINES_MAX);

    if (uids->count == 0)
        return;
    if (im->batch == NULL)
        im->batch = view_batch_new();
    while (view_read(im->view, uids, &it, 0, im->batch) == 0 && im->batch->count > 0) {
        buf_reset(&lines);
        for (size_t i = 0; i < im->batch->count; i++) {
            const struct view_message *vm = &im->batch->items[i];
            struct view_stored s = {vm->m.uid, vm->m.flags, vm->m.keywords};

            if (!vm->gone && vm->seq != 0)
                flags_line(im, vm->seq, &s, vm->recent, with_uid, &lines);
        }
        stream_write(im->out, lines.data, lines.len);
        if (stream_error(im->out) != 0)
            break;
    }
    buf_free(&lines);
}

static void
add_keywords(const struct view_info *info, struct buf *out)
{
    for (size_t i = 0; i < info->keywords_count; i++)
        if (info->keywords[i] != NULL && strcasecmp(info->keywords[i], FORWARDED) != 0) {
            buf_addc(out, ' ');
            buf_adds(out, info->keywords[i]);
        }
}

#define SYSTEM_FLAGS "\\Answered \\Flagged \\Deleted \\Seen \\Draft " FORWARDED

void
imap_send_flag_lists(struct imap *im, bool permanent)
{
    const struct view_info *info = view_info(im->view);
    struct buf b = BUF_INIT(65536);

    buf_adds(&b, "* FLAGS (" SYSTEM_FLAGS);
    add_keywords(info, &b);
    buf_adds(&b, ")\r\n");
    if (permanent && info->readonly) {
        buf_adds(&b, "* OK [PERMANENTFLAGS ()] Nothing can be changed\r\n");
    } else if (permanent) {
        buf_adds(&b, "* OK [PERMANENTFLAGS (" SYSTEM_FLAGS);
        add_keywords(info, &b);
        buf_adds(&b, info->keywords_full ? ")] All keywords are in use\r\n"
                                         : " \\*)] Flags are kept\r\n");
    }
    stream_write(im->out, b.data, b.len);
    buf_free(&b);
}

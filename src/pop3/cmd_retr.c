/*
 * RETR and TOP (RFC 1939 5 and 7): a message goes from its file through the CRLF conversion of
 * the store, the cut of TOP and the byte-stuffing to the stream, a buffer at a time.
 *
 * RETR changes no flag: POP3 clients fetch everything, and reading happens elsewhere.
 */
#include <string.h>

#include "base/err.h"
#include "pop3/dotstuff.h"
#include "pop3/pop3_session.h"

/*
 * How many octets the message has on the wire: what STAT and LIST say of it too. RFC 1939 11
 * counts the message's own octets, each line end as two. Byte-stuffing isn't counted, nor is
 * what ends the answer. If the last line has no end, the CRLF that is sent behind it belongs to
 * the five octets "CRLF.CRLF" (RFC 1939 3), and not to the message.
 */
static int
wire_octets(struct pop3 *p, uint32_t n, struct message *m, uint64_t *octets)
{
    const struct index_message *row;
    uint64_t known = MDNAME_SIZE_UNKNOWN;
    int64_t size;
    int err;

    err = maildrop_find(p->drop, n, &row);
    if (err < 0)
        return err;
    if (row != NULL && row->size == message_size(m))
        known = row->crlf_size;
    size = message_wire_size(m, 0, message_size(m), known, 0, UINT64_MAX);
    if (size < 0)
        return (int)size;
    *octets = (uint64_t)size;
    maildrop_set_size(p->drop, n, *octets);
    return 0;
}

/* Sends the message, cut after `lines` lines of its body if that isn't UINT64_MAX. A failure
   behind +OK can only be told by breaking off: half a message must not look whole. */
static void
send_message(struct pop3 *p, struct message *m, uint64_t lines)
{
    struct dotstuff stuffed;
    struct topcut top;
    struct sink *to = &stuffed.sink;
    int64_t sent;

    dotstuff_init(&stuffed, stream_sink(p->out));
    topcut_init(&top, lines, &stuffed.sink);
    if (lines != UINT64_MAX)
        to = &top.sink;
    sent = message_send(m, 0, message_size(m), 0, UINT64_MAX, to);
    if (sent >= 0 || top.done)
        dotstuff_finish(&stuffed);
    else if (stream_error(p->out) == 0)
        pop3_end(p, "message could not be read");
}

void
pop3_cmd_retr(struct pop3 *p)
{
    uint32_t n = pop3_message(p, 0);
    struct message *m;
    uint64_t octets = 0;
    int err;

    if (n == 0)
        return;
    err = maildrop_open_message(p->drop, n, &m);
    if (err == 0)
        err = wire_octets(p, n, m, &octets);
    if (err < 0) {
        pop3_store_err(p, err);
    } else {
        stream_printf(p->out, "+OK %llu octets\r\n", (unsigned long long)octets);
        send_message(p, m, UINT64_MAX);
    }
    message_close(&m);
}

/* A number of lines: any digits; what doesn't fit is as good as all. */
static bool
parse_lines(const char *s, uint64_t *lines)
{
    *lines = 0;
    if (*s == '\0' || s[strspn(s, "0123456789")] != '\0')
        return false;
    for (; *s != '\0'; s++) {
        if (*lines > UINT64_MAX / 10 - 1)
            return true;
        *lines = *lines * 10 + (uint64_t)(*s - '0');
    }
    return true;
}

void
pop3_cmd_top(struct pop3 *p)
{
    uint32_t n = pop3_message(p, 0);
    struct message *m;
    uint64_t lines;
    int err;

    if (n == 0)
        return;
    if (!parse_lines(p->args[1].text, &lines)) {
        pop3_bad(p, "A number of lines is expected");
        return;
    }
    err = maildrop_open_message(p->drop, n, &m);
    if (err < 0) {
        pop3_store_err(p, err);
        return;
    }
    pop3_ok(p, "Top of the message follows");
    send_message(p, m, lines);
    message_close(&m);
}

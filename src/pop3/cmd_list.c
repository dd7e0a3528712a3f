/*
 * STAT, LIST and UIDL (RFC 1939 5 and 7). Sizes are octets on the wire, with CRLF line ends, as
 * RFC 1939 11 wants it.
 */
#include <string.h>

#include "base/err.h"
#include "pop3/pop3_session.h"

/* 1 .. 2^32 - 1, or 0. */
static uint32_t
parse_number(const char *s)
{
    uint64_t n = 0;

    for (; *s >= '0' && *s <= '9'; s++) {
        n = n * 10 + (uint64_t)(*s - '0');
        if (n > UINT32_MAX)
            return 0;
    }
    return *s == '\0' ? (uint32_t)n : 0;
}

uint32_t
pop3_message(struct pop3 *p, size_t arg)
{
    const char *text = p->args[arg].text;
    uint32_t n = parse_number(text), count = maildrop_count(p->drop);

    if (text[strspn(text, "0123456789")] != '\0') {
        pop3_bad(p, "A message's number is expected");
        return 0;
    }
    if (n == 0 || n > count) {
        stream_printf(p->out, "-ERR No such message: there are %u\r\n", count);
        return 0;
    }
    if (maildrop_is_deleted(p->drop, n)) {
        stream_printf(p->out, "-ERR Message %u is deleted\r\n", n);
        return 0;
    }
    return n;
}

void
pop3_cmd_stat(struct pop3 *p)
{
    uint32_t count;
    uint64_t octets;
    int err = maildrop_totals(p->drop, &count, &octets);

    if (err < 0)
        pop3_store_err(p, err);
    else
        stream_printf(p->out, "+OK %u %llu\r\n", count, (unsigned long long)octets);
}

static void
list_one(struct pop3 *p)
{
    uint32_t n = pop3_message(p, 0);
    uint64_t octets;
    int err;

    if (n == 0)
        return;
    err = maildrop_size(p->drop, n, &octets);
    if (err < 0)
        pop3_store_err(p, err);
    else
        stream_printf(p->out, "+OK %u %llu\r\n", n, (unsigned long long)octets);
}

/* "n value CRLF" without the cost of printf: a list may have a hundred thousand lines. */
static void
write_line(struct pop3 *p, struct buf *line, uint32_t n, const char *value)
{
    buf_reset(line);
    buf_addu(line, n);
    buf_addc(line, ' ');
    buf_adds(line, value);
    buf_add(line, "\r\n", 2);
    stream_write(p->out, line->data, line->len);
}

static void
list_all(struct pop3 *p)
{
    struct buf line = BUF_INIT(128), number = BUF_INIT(32);
    uint32_t n, count = maildrop_count(p->drop), left;
    uint64_t octets;
    int err;

    /* the sizes first: behind +OK no error can be told any more */
    err = maildrop_load_sizes(p->drop);
    if (err == 0)
        err = maildrop_totals(p->drop, &left, &octets);
    if (err < 0) {
        pop3_store_err(p, err);
        return;
    }
    stream_printf(p->out, "+OK %u messages (%llu octets)\r\n", left,
                  (unsigned long long)octets);
    for (n = 1; n <= count && stream_error(p->out) == 0; n++) {
        if (maildrop_is_deleted(p->drop, n) || maildrop_size(p->drop, n, &octets) < 0)
            continue;
        buf_reset(&number);
        buf_addu(&number, octets);
        write_line(p, &line, n, buf_str(&number));
    }
    stream_puts(p->out, ".\r\n");
    buf_free(&line);
    buf_free(&number);
}

void
pop3_cmd_list(struct pop3 *p)
{
    if (p->args_count > 0)
        list_one(p);
    else
        list_all(p);
}

static void
uidl_one(struct pop3 *p)
{
    char id[CONF_UIDL_SIZE];
    uint32_t n = pop3_message(p, 0);
    int err;

    if (n == 0)
        return;
    err = maildrop_uidl(p->drop, n, p->conf->pop3_uidl_format, id);
    if (err < 0)
        pop3_store_err(p, err);
    else
        stream_printf(p->out, "+OK %u %s\r\n", n, id);
}

/* Written batch by batch. A failure behind +OK can only be told by breaking off: a list that
   looks complete but isn't would make a client fetch or forget messages. */
static void
uidl_all(struct pop3 *p)
{
    struct buf line = BUF_INIT(128);
    char id[CONF_UIDL_SIZE];
    uint32_t n, count = maildrop_count(p->drop);
    bool begun = false;
    int err = 0;

    for (n = 1; n <= count && stream_error(p->out) == 0; n++) {
        if (maildrop_is_deleted(p->drop, n))
            continue;
        err = maildrop_uidl(p->drop, n, p->conf->pop3_uidl_format, id);
        if (err < 0)
            break;
        if (!begun)
            pop3_ok(p, "Unique ids:");
        begun = true;
        write_line(p, &line, n, id);
    }
    buf_free(&line);
    if (err < 0) {
        if (!begun)
            pop3_store_err(p, err);
        else
            pop3_end(p, "index failed during UIDL");
        return;
    }
    if (!begun)
        pop3_ok(p, "No messages");
    stream_puts(p->out, ".\r\n");
}

void
pop3_cmd_uidl(struct pop3 *p)
{
    if (p->args_count > 0)
        uidl_one(p);
    else
        uidl_all(p);
}

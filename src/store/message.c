/*
 * One open message: its bytes as they are, or with every line end as CRLF (RFC 3501 2.2, RFC
 * 1939 3). A line end is an LF; one that has a CR in front of it already is left alone, and so
 * is a lone CR.
 *
 * The conversion works on blocks: memchr() finds the line ends, whole lines are copied, and the
 * sink gets large pieces. There is no short cut for files that have CRLF throughout: that both
 * sizes are equal is only what the file's name says, and a lone LF must not reach a client.
 *
 * Knows nothing of the index's database, MIME, or the protocol.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "store/maildir.h"
#include "store/message_private.h"

#define BLOCK_MAX 65536

/* A place in a converted range: so many octets of the file are so many on the wire. */
struct place {
    uint64_t offset, length; /* the range that it belongs to */
    uint64_t raw, wire;      /* from the range's start */
    bool after_cr;           /* the octet before was a CR */
    bool valid;
};

struct message {
    struct source source; /* first: message_source() hands out its address */
    int fd;
    uint64_t size;
    int64_t date;
    uint64_t source_at, source_end;
    struct place last;
    char *in, *out; /* blocks, allocated when first needed; out holds twice as much */
    size_t block;
};

int
message_open(int fd, const struct index_message *m, struct message **out)
{
    struct message *msg;
    struct stat st;
    int file, err = maildir_open_message(fd, m->in_new, m->name, &file, &st);

    *out = NULL;
    if (err < 0)
        return err;
    msg = mem_calloc(1, sizeof *msg);
    msg->fd = file;
    msg->size = (uint64_t)st.st_size;
    msg->date = (int64_t)st.st_mtim.tv_sec;
    *out = msg;
    return 0;
}

void
message_close(struct message **m)
{
    if (*m == NULL)
        return;
    close((*m)->fd);
    free((*m)->in);
    free((*m)->out);
    free(*m);
    *m = NULL;
}

uint64_t
message_size(const struct message *m)
{
    return m->size;
}

int64_t
message_date(const struct message *m)
{
    return m->date;
}

/* Up to n octets from `at`; 0 at the end of the file. */
static ssize_t
read_at(struct message *m, void *p, size_t n, uint64_t at)
{
    ssize_t got;

    do {
        got = pread(m->fd, p, n, (off_t)at);
    } while (got < 0 && errno == EINTR);
    if (got >= 0)
        return got;
    log_error("reading a message: %s", strerror(errno));
    return err_from_errno(errno);
}

static ssize_t
source_read(struct source *s, void *p, size_t n)
{
    struct message *m = (struct message *)s;
    ssize_t got;

    if (n > m->source_end - m->source_at)
        n = (size_t)(m->source_end - m->source_at);
    if (n == 0)
        return 0;
    got = read_at(m, p, n, m->source_at);
    if (got > 0)
        m->source_at += (uint64_t)got;
    return got;
}

/* Cuts a range to the file. */
static void
clip(const struct message *m, uint64_t *offset, uint64_t *length)
{
    if (*offset > m->size)
        *offset = m->size;
    if (*length > m->size - *offset)
        *length = m->size - *offset;
}

struct source *
message_source(struct message *m, uint64_t offset, uint64_t length)
{
    clip(m, &offset, &length);
    m->source.read = source_read;
    m->source_at = offset;
    m->source_end = offset + length;
    return &m->source;
}

static void
need_blocks(struct message *m)
{
    if (m->in != NULL)
        return;
    m->block = m->size < BLOCK_MAX ? (size_t)m->size + 1 : BLOCK_MAX;
    m->in = mem_alloc(m->block);
    m->out = mem_alloc(2 * m->block);
}

/* Converts n octets into `to` (room for 2 n); returns how many it wrote. */
static size_t
convert(const char *p, size_t n, bool *after_cr, char *to)
{
    const char *end = p + n, *lf;
    char *start = to;
    size_t len;

    while (p < end) {
        lf = memchr(p, '\n', (size_t)(end - p));
        len = (size_t)((lf != NULL ? lf : end) - p);
        memcpy(to, p, len);
        to += len;
        if (len > 0)
            *after_cr = p[len - 1] == '\r';
        if (lf == NULL)
            break;
        if (!*after_cr)
            *to++ = '\r';
        *to++ = '\n';
        *after_cr = false;
        p = lf + 1;
    }
    return (size_t)(to - start);
}

/* How many octets n octets are on the wire. */
static size_t
converted_size(const char *p, size_t n, bool *after_cr)
{
    const char *start = p, *end = p + n, *lf;
    size_t size = n;

    while ((lf = memchr(p, '\n', (size_t)(end - p))) != NULL) {
        size += !(lf > start ? lf[-1] == '\r' : *after_cr);
        p = lf + 1;
    }
    if (n > 0)
        *after_cr = end[-1] == '\r';
    return size;
}

/* Where to start for wire octet `skip` of a range: the last place if it isn't behind that. */
static struct place
start_place(const struct message *m, uint64_t offset, uint64_t length, uint64_t skip)
{
    struct place p = {.offset = offset, .length = length, .valid = true};

    if (m->last.valid && m->last.offset == offset && m->last.length == length &&
        m->last.wire <= skip)
        return m->last;
    return p;
}

/* Reads the block at a place. 0 at the range's end (or if the file was cut meanwhile). */
static ssize_t
next_block(struct message *m, const struct place *p)
{
    uint64_t left = p->length - p->raw;
    size_t n = left < m->block ? (size_t)left : m->block;

    return n > 0 ? read_at(m, m->in, n, p->offset + p->raw) : 0;
}

/* Cuts [at, at + n) of the wire to [skip, skip + count): first octet and length. */
static size_t
window(uint64_t at, size_t n, uint64_t skip, uint64_t count, size_t *from)
{
    uint64_t end = count > UINT64_MAX - skip ? UINT64_MAX : skip + count;
    uint64_t first = at > skip ? at : skip, last = at + n < end ? at + n : end;

    *from = (size_t)(first - at);
    return first < last ? (size_t)(last - first) : 0;
}

int64_t
message_send(struct message *m, uint64_t offset, uint64_t length, uint64_t skip, uint64_t count,
             struct sink *to)
{
    struct place p;
    uint64_t sent = 0;
    size_t wire, from, n;
    bool after_cr;
    ssize_t got;
    int err;

    clip(m, &offset, &length);
    p = start_place(m, offset, length, skip);
    need_blocks(m);
    while (sent < count) {
        m->last = p; /* the start of the last block used: the next call may begin in it */
        got = next_block(m, &p);
        if (got <= 0)
            return got < 0 ? got : (int64_t)sent;
        after_cr = p.after_cr;
        wire = convert(m->in, (size_t)got, &after_cr, m->out);
        n = window(p.wire, wire, skip + sent, count - sent, &from);
        if (n > 0) {
            err = to->write(to, m->out + from, n);
            if (err < 0)
                return err;
            sent += n;
        }
        p.raw += (uint64_t)got;
        p.wire += wire;
        p.after_cr = after_cr;
    }
    return (int64_t)sent;
}

int64_t
message_wire_size(struct message *m, uint64_t offset, uint64_t length, uint64_t crlf_size,
                  uint64_t skip, uint64_t count)
{
    struct place p;
    uint64_t end = count > UINT64_MAX - skip ? UINT64_MAX : skip + count;
    ssize_t got;

    clip(m, &offset, &length);
    if (crlf_size == MDNAME_SIZE_UNKNOWN) {
        need_blocks(m);
        p = start_place(m, offset, length, skip);
        while (p.wire < end) {
            if (p.wire <= skip)
                m->last = p;
            got = next_block(m, &p);
            if (got < 0)
                return got;
            if (got == 0)
                break;
            p.raw += (uint64_t)got;
            p.wire += converted_size(m->in, (size_t)got, &p.after_cr);
        }
        crlf_size = p.wire;
    }
    if (skip >= crlf_size)
        return 0;
    return (int64_t)(count < crlf_size - skip ? count : crlf_size - skip);
}

int
message_measure(int fd, struct index_message *m)
{
    struct message *msg;
    int64_t size;
    int err = message_open(fd, m, &msg);

    if (err < 0)
        return err;
    size = message_wire_size(msg, 0, msg->size, MDNAME_SIZE_UNKNOWN, 0, UINT64_MAX);
    if (size >= 0) {
        m->size = msg->size;
        m->crlf_size = (uint64_t)size;
    }
    message_close(&msg);
    return size < 0 ? (int)size : 0;
}

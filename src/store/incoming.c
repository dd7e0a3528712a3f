/*
 * A source -> a file in tmp/, with line ends as they're stored; see incoming.h.
 *
 * Memory doesn't grow with the message: it passes through one block of 64 KB.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/incoming.h"
#include "store/maildir.h"

#define BLOCK 65536

/* Octets come in pieces of any size: what the conversion must remember. */
struct converter {
    char last, before_last;
    uint64_t size, crlf_size;
    char *out; /* BLOCK octets */
    size_t out_len;
    int file;
};

static int
flush(struct converter *c)
{
    size_t done = 0;
    ssize_t n;

    while (done < c->out_len) {
        n = write(c->file, c->out + done, c->out_len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            log_error("writing a message: %s", strerror(errno));
            return err_from_errno(errno);
        }
        done += (size_t)n;
    }
    c->out_len = 0;
    return 0;
}

/* Octets without a line end in them, as they are. */
static int
put(struct converter *c, const char *p, size_t n)
{
    size_t part;
    int err;

    c->size += n;
    while (n > 0) {
        part = n < BLOCK - c->out_len ? n : BLOCK - c->out_len;
        memcpy(c->out + c->out_len, p, part);
        c->out_len += part;
        p += part;
        n -= part;
        if (c->out_len == BLOCK) {
            err = flush(c);
            if (err < 0)
                return err;
        }
    }
    return 0;
}

/*
 * CRLF -> LF. A CR is held back until the octet behind it is known. "\r\r\n" is kept as it is:
 * as "\r\n" on disk it would come back with one CR less. crlf_size counts what message_send()
 * will make of it: an LF with no CR in front becomes two octets.
 */
static int
convert(struct converter *c, const char *p, size_t n)
{
    const char *end = p + n, *lf;
    size_t len;
    int err = 0;

    while (err == 0 && p < end) {
        lf = memchr(p, '\n', (size_t)(end - p));
        len = (size_t)((lf != NULL ? lf : end) - p);
        if (len > 0) {
            if (c->last == '\r')
                err = put(c, "\r", 1);
            c->before_last = len > 1 ? p[len - 2] : c->last;
            c->last = p[len - 1];
            if (err == 0)
                err = put(c, p, len - (c->last == '\r'));
        }
        if (lf == NULL || err < 0)
            break;
        if (c->last == '\r' && c->before_last == '\r')
            err = put(c, "\r\n", 2);
        else if (err == 0) {
            err = put(c, "\n", 1);
            c->crlf_size++;
        }
        c->before_last = c->last;
        c->last = '\n';
        p = lf + 1;
    }
    return err;
}

static int
receive(struct converter *c, struct source *src, uint64_t limit)
{
    char *in = mem_alloc(BLOCK);
    uint64_t got = 0;
    ssize_t n;
    int err = 0;

    while ((n = src->read(src, in, BLOCK)) > 0) {
        got += (uint64_t)n;
        if (got > limit) {
            err = ERR_LIMIT;
            break;
        }
        err = convert(c, in, (size_t)n);
        if (err < 0)
            break;
    }
    if (n < 0)
        err = (int)n;
    if (err == 0 && c->last == '\r')
        err = put(c, "\r", 1);
    free(in);
    return err;
}

int
incoming_write(struct incoming *in, int fd, const char *headers, struct source *src,
               uint64_t limit)
{
    struct converter c = {.file = -1};
    int err;

    in->fd = fd;
    in->file = -1;
    in->size = in->crlf_size = 0;
    err = maildir_tmp_create(fd, in->tmp, &in->file);
    if (err < 0) {
        in->tmp[0] = '\0';
        return err == ERR_LIMIT ? ERR_IO : err; /* the name's length isn't the message's */
    }
    c.file = in->file;
    c.out = mem_alloc(BLOCK);
    err = convert(&c, headers, strlen(headers));
    if (err == 0)
        err = receive(&c, src, limit);
    if (err == 0)
        err = flush(&c);
    free(c.out);
    in->size = c.size;
    in->crlf_size = c.size + c.crlf_size;
    sys_step("incoming:written");
    return err;
}

int
incoming_sync(struct incoming *in, int64_t internal_date)
{
    int err = maildir_set_date(in->file, internal_date);

    if (err == 0 && sys_fsync(in->file) != 0) {
        err = err_from_errno(errno);
        log_error("fsync of a message: %s", strerror(errno));
    }
    if (close(in->file) != 0 && err == 0)
        err = err_from_errno(errno);
    in->file = -1;
    sys_step("incoming:synced");
    return err;
}

void
incoming_moved(struct incoming *in)
{
    in->tmp[0] = '\0';
}

void
incoming_drop(struct incoming *in)
{
    if (in->file >= 0)
        close(in->file);
    in->file = -1;
    if (in->tmp[0] != '\0')
        maildir_tmp_remove(in->fd, in->tmp);
    in->tmp[0] = '\0';
}

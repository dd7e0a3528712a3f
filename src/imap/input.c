/*
 * Reads commands: lines and literals (RFC 3501 2.2, 4.3; RFC 7888), each with its limits and
 * deadlines, and keeps the connection in step when a command is refused.
 *
 * In step: a client that announced {n+} sends its n octets whatever we answer, and then the
 * rest of the command; they must be read, or they would be taken for commands. A client that
 * announced {n} waits; the tagged reply ends its command. So a refused command is read to its
 * end, up to a limit, beyond which the session ends.
 *
 * Time: a command's lines together have command_timeout from its first octet. A literal has its
 * own: it may be behind min_transfer_rate by command_timeout, not more, so that neither a
 * client that drips nor one that stops holds a worker.
 */
#include <string.h>

#include "base/conf.h"
#include "base/err.h"
#include "base/sys.h"
#include "imap/imap_session.h"

#define LOGIN_LITERAL_MAX 4096u         /* before login (protocol limits) */
#define LOGIN_ARGUMENTS   (16u * 1024)  /* all arguments of one command before login */
#define LOGIN_DROP_MAX    (64u * 1024)  /* refused literals that are read before login */
#define DROP_MAX          (1024u << 20) /* and after it */

static void
set_deadline(struct imap *im, int64_t at)
{
    if (im->state == STATE_NOT_AUTH && im->login_deadline < at)
        at = im->login_deadline;
    stream_set_deadline(im->out, at);
}

/* Of reading. Before login, writing may take no longer than the login either. */
static void
end_deadline(struct imap *im)
{
    stream_set_deadline(im->out, im->state == STATE_NOT_AUTH ? im->login_deadline : 0);
}

static size_t
line_max(const struct imap *im)
{
    return im->state == STATE_NOT_AUTH ? im->conf->login_max_line : im->conf->max_line;
}

/* The end of the connection, with words if they can still be said. */
static void
input_failed(struct imap *im, int err)
{
    if (err != ERR_TIMEOUT)
        return; /* session.c names the stream's error */
    if (im->state == STATE_NOT_AUTH && sys_monotonic_ms() >= im->login_deadline)
        imap_bye(im, "Login took too long", "login timeout");
    else
        imap_bye(im, "The command took too long", "command timeout");
}

static int
read_line(struct imap *im)
{
    int err = stream_read_line(im->out, &im->line, line_max(im));

    if (err != 0 && stream_error(im->out) != 0) {
        err = stream_error(im->out);
        input_failed(im, err);
        return err;
    }
    return err;
}

int
imap_read_plain_line(struct imap *im)
{
    int err;

    im->command_deadline = sys_monotonic_ms() + 1000LL * im->conf->command_timeout;
    set_deadline(im, im->command_deadline);
    err = read_line(im);
    end_deadline(im);
    return err;
}

/* Literals. */

/* Each octet that came moves the deadline on by the time it may take at the lowest rate. */
static void
pace(struct imap_literal *l, uint64_t got)
{
    const struct conf *conf = l->im->conf;
    int64_t now = sys_monotonic_ms(), latest = now + 1000LL * conf->command_timeout;

    if (conf->min_transfer_rate == 0) {
        l->until = now + 1000LL * conf->imap_idle_timeout;
    } else {
        l->until += (int64_t)(got * 1000 / conf->min_transfer_rate);
        if (l->until > latest)
            l->until = latest;
    }
    set_deadline(l->im, l->until);
}

static ssize_t
literal_read(struct source *s, void *p, size_t n)
{
    struct imap_literal *l = (struct imap_literal *)s; /* its first member */
    ssize_t got;

    if (l->left == 0)
        return 0;
    if (n > l->left)
        n = (size_t)l->left;
    got = stream_read(l->im->out, p, n);
    if (got < 0) {
        if (got == ERR_TIMEOUT)
            imap_bye(l->im, "The data came too slowly", "literal timeout");
        return got;
    }
    l->left -= (uint64_t)got;
    pace(l, (uint64_t)got);
    if (l->left == 0)
        l->im->command_deadline += sys_monotonic_ms() - l->began;
    return got;
}

/* The command's own deadline stands still while its literals come in, refused ones too: what
   follows them must still be read. */
void
imap_literal_init(struct imap_literal *l, struct imap *im, uint64_t octets)
{
    l->source.read = literal_read;
    l->im = im;
    l->left = octets;
    l->began = sys_monotonic_ms();
    l->until = l->began + 1000LL * im->conf->command_timeout;
    pace(l, 0);
}

bool
imap_literal_drop(struct imap_literal *l)
{
    char scratch[4096];

    while (l->left > 0)
        if (literal_read(&l->source, scratch, sizeof scratch) <= 0)
            return false;
    return true;
}

void
imap_literal_go(struct imap *im)
{
    if (im->parse.literal_sync)
        stream_puts(im->out, "+ OK\r\n");
}

/* "...{123+}" or "{123}" at the end of a line; false if there is none. */
static bool
announced(const struct buf *line, uint64_t *n, bool *sync)
{
    size_t i = line->len;
    uint64_t value = 0, unit = 1;

    if (i < 3 || line->data[i - 1] != '}')
        return false;
    i--;
    *sync = line->data[i - 1] != '+';
    if (!*sync)
        i--;
    for (; i > 0 && line->data[i - 1] >= '0' && line->data[i - 1] <= '9'; i--) {
        if (unit > UINT64_MAX / 100) {
            value = UINT64_MAX; /* refused by its size, but not overlooked */
            continue;
        }
        value += unit * (uint64_t)(line->data[i - 1] - '0');
        unit *= 10;
    }
    *n = value;
    return unit > 1 && i > 0 && line->data[i - 1] == '{';
}

static bool
drop_octets(struct imap *im, uint64_t n)
{
    uint64_t max = im->state == STATE_NOT_AUTH ? LOGIN_DROP_MAX : DROP_MAX;
    struct imap_literal l;

    if (n > max || im->dropped > max - n) {
        imap_bye(im, "[TOOBIG] The literal is too large", "literal too large");
        return false;
    }
    im->dropped += n;
    imap_literal_init(&l, im, n);
    return imap_literal_drop(&l);
}

void
imap_refuse_literal(struct imap *im)
{
    uint64_t n;
    bool sync;

    while (announced(&im->line, &n, &sync) && !sync) {
        if (!drop_octets(im, n))
            break;
        set_deadline(im, im->command_deadline);
        if (read_line(im) != 0 && stream_error(im->out) != 0)
            break;
    }
    end_deadline(im);
}

void
imap_skip_command(struct imap *im)
{
    set_deadline(im, im->command_deadline);
    if (!im->logout && (read_line(im) == 0 || stream_error(im->out) == 0))
        imap_refuse_literal(im);
}

/* A literal of an ordinary argument goes into the arena. */
static bool
read_argument(struct imap *im, struct reply *reply)
{
    uint64_t size = im->parse.literal_size;
    size_t max = im->state == STATE_NOT_AUTH ? LOGIN_LITERAL_MAX : im->conf->max_arguments;
    struct imap_literal l;
    char *data;
    size_t got = 0;
    ssize_t n = 1;

    if (size > max) {
        imap_refuse_literal(im);
        *reply = reply_bad("[TOOBIG] The literal is too large");
        return false;
    }
    imap_literal_go(im);
    data = arena_alloc(im->arena, (size_t)size + 1);
    imap_literal_init(&l, im, size);
    for (; got < size && n > 0; got += n > 0 ? (size_t)n : 0)
        n = literal_read(&l.source, data + got, (size_t)size - got);
    if (got < size) {
        reply->kind = REPLY_NONE;
        return false;
    }
    data[got] = '\0';
    imapparse_literal(&im->parse, data, got);
    return true;
}

/* Is the command one that may run now? Asked before its first literal is let in, and again at
   its end. */
static bool
find_command(struct imap *im, struct reply *reply)
{
    const char *fault;

    if (im->command != NULL)
        return true;
    im->command = imap_find_command(im, im->parse.name != NULL ? im->parse.name : "");
    fault = imap_command_fault(im, im->command);
    if (fault == NULL)
        return true;
    *reply = reply_bad(fault);
    return false;
}

static bool
read_literal(struct imap *im, struct reply *reply)
{
    if (!find_command(im, reply)) {
        imap_refuse_literal(im);
        return false;
    }
    if (im->parse.literal8) { /* RFC 3516, not offered */
        imap_refuse_literal(im);
        *reply = reply_bad("Binary literals are not supported");
        return false;
    }
    return imapparse_at_append_message(&im->parse) ? imap_append_literal(im, reply)
                                                   : read_argument(im, reply);
}

/* The line is longer than allowed; its tag is in what was kept. */
static void
line_too_long(struct imap *im, struct reply *reply)
{
    size_t n = 0;

    *reply = reply_bad("The line is too long");
    if (im->parse.tag != NULL)
        return;
    while (n < im->line.len && n < 256 && im->line.data[n] > ' ' &&
           strchr("(){%*\"\\+", im->line.data[n]) == NULL)
        n++;
    if (n > 0 && n < im->line.len && im->line.data[n] == ' ')
        im->parse.tag = arena_memdup(im->arena, im->line.data, n);
}

static void
begin(struct imap *im)
{
    bool in = im->state != STATE_NOT_AUTH;
    const struct imapparse_limits limits = {
        .max_arguments = in ? im->conf->max_arguments : LOGIN_ARGUMENTS,
        .max_depth = in ? im->conf->max_list_depth : 1,
    };

    imapparse_begin(&im->parse, im->arena, &limits);
    im->command = NULL;
    im->dropped = 0;
    im->resting = false;
    im->command_deadline = sys_monotonic_ms() + 1000LL * im->conf->command_timeout;
}

static bool
read_parts(struct imap *im, struct reply *reply)
{
    int err;

    for (;;) {
        set_deadline(im, im->command_deadline);
        err = read_line(im);
        if (err == ERR_LIMIT && stream_error(im->out) == 0) {
            line_too_long(im, reply);
            imap_refuse_literal(im);
            return false;
        }
        if (err != 0) {
            reply->kind = REPLY_NONE;
            return false;
        }
        err = imapparse_line(&im->parse, im->line.len > 0 ? im->line.data : "", im->line.len);
        if (err == PARSE_DONE)
            return find_command(im, reply);
        if (err != PARSE_LITERAL) {
            *reply = reply_bad(im->parse.error != NULL ? im->parse.error : "Syntax error");
            imap_refuse_literal(im);
            return false;
        }
        if (!read_literal(im, reply))
            return false;
    }
}

bool
imap_read_command(struct imap *im, struct reply *reply)
{
    bool ok;

    begin(im);
    ok = read_parts(im, reply);
    if (im->logout)
        reply->kind = REPLY_NONE;
    end_deadline(im);
    return ok && !im->logout;
}

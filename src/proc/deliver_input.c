/*
 * Reading a message from a mail transfer agent; see deliver_input.h.
 *
 * The end of a pipe doesn't say whether the message was whole: if the feeder is killed, it
 * ends too. A feeder waits for our exit status, so one that isn't our parent any more has died;
 * then nothing is delivered, and the agent tries again. A process is taken out of the list of
 * parents only after its descriptors were closed, so this is asked late: when the file has been
 * synced, right before it gets its place. And who our parent is, is asked early, when the
 * program begins: looking up the user may take seconds.
 *
 * The signals are blocked but while we wait for input, so that none is lost between a look and
 * a wait, and none comes between the rename and the end.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "format/header.h"
#include "proc/deliver_input.h"

#define WAIT_S 600 /* for the next octet: RFC 5321 4.5.3.2.6, the patience of a client */

static const int stop_signals[] = {SIGTERM, SIGINT, SIGHUP};
#define STOP_SIGNALS (sizeof stop_signals / sizeof stop_signals[0])

static volatile sig_atomic_t stopped; /* a signal's handler can reach nothing else */
static pid_t first_parent;            /* of the process */

static void
on_stop(int sig)
{
    (void)sig;
    stopped = 1;
}

void
input_prepare(void)
{
    struct sigaction stop = {.sa_handler = on_stop}, old;
    sigset_t set;

    first_parent = getppid();
    stopped = 0;
    sigemptyset(&stop.sa_mask);
    sigemptyset(&set);
    for (size_t i = 0; i < STOP_SIGNALS; i++) {
        /* one that is ignored (nohup) would be pending all the same, were it blocked */
        if (sigaction(stop_signals[i], NULL, &old) != 0 || old.sa_handler == SIG_IGN)
            continue;
        sigaddset(&set, stop_signals[i]);
        sigaction(stop_signals[i], &stop, NULL);
    }
    sigprocmask(SIG_BLOCK, &set, NULL);
}

static bool
is_stopped(void)
{
    sigset_t pending;

    if (stopped)
        return true;
    if (sigpending(&pending) != 0)
        return false;
    for (size_t i = 0; i < STOP_SIGNALS; i++)
        if (sigismember(&pending, stop_signals[i]) == 1)
            return true;
    return false;
}

bool
input_give_up(void *ctx)
{
    const struct input *in = ctx;

    if (is_stopped()) {
        log_warn("stopped by a signal before the message was stored");
        return true;
    }
    if (!in->is_file && getppid() != in->feeder) {
        log_warn("whoever started this has died: the message may be cut short");
        return true;
    }
    return false;
}

/* Waits for octets, or the end. 0 or ERR_*. */
static int
wait_for_input(const struct input *in)
{
    struct pollfd p = {.fd = in->fd, .events = POLLIN};
    struct timespec wait = {.tv_sec = WAIT_S};
    sigset_t set;
    int n;

    sigprocmask(SIG_BLOCK, NULL, &set);
    for (size_t i = 0; i < STOP_SIGNALS; i++)
        sigdelset(&set, stop_signals[i]);
    for (;;) {
        if (is_stopped()) {
            log_warn("stopped by a signal before the end of the message");
            return ERR_TEMP;
        }
        n = ppoll(&p, 1, &wait, &set);
        if (n > 0)
            return 0;
        if (n == 0) {
            log_warn("no octet of the message came for %d s", WAIT_S);
            return ERR_TIMEOUT;
        }
        if (errno != EINTR)
            return err_from_errno(errno);
    }
}

static ssize_t
read_some(struct input *in, char *p, size_t n)
{
    ssize_t got;
    int err;

    if (in->ended)
        return 0;
    do {
        err = wait_for_input(in);
        if (err < 0)
            return err;
        got = read(in->fd, p, n);
    } while (got < 0 && (errno == EINTR || errno == EAGAIN));
    if (got < 0) {
        log_error("reading the message: %s", strerror(errno));
        return ERR_IO;
    }
    in->ended = got == 0;
    return got;
}

static ssize_t
input_read(struct source *s, void *p, size_t n)
{
    struct input *in = (struct input *)s;
    size_t left = in->len - in->at;

    in->started = true;
    if (left == 0)
        return read_some(in, p, n);
    if (n > left)
        n = left;
    memcpy(p, in->block + in->at, n);
    in->at += n;
    return (ssize_t)n;
}

/* For a log line: without what could look like the end of a word. */
static void
take_id(const char *p, size_t n, char out[INPUT_ID_SIZE])
{
    size_t len = 0;

    for (; n > 0 && len < INPUT_ID_SIZE - 1; p++, n--) {
        if (*p == '\r' || *p == '\n' || *p == ' ' || *p == '\t')
            continue;
        out[len++] = *p > 0x20 && *p < 0x7f ? *p : '?';
    }
    if (len == 0)
        out[len++] = '-';
    out[len] = '\0';
}

void
input_look(const char *p, size_t n, struct input_head *out)
{
    struct header_field f;
    const char *end;
    size_t pos = 0;

    memset(out, 0, sizeof *out);
    if (n > 5 && memcmp(p, "From ", 5) == 0 && (end = memchr(p, '\n', n)) != NULL)
        out->skip = (size_t)(end + 1 - p);
    p += out->skip;
    n -= out->skip;
    out->return_path =
        header_next(p, n, &pos, &f) && f.raw == p && header_name_is(&f, "Return-Path");
    if (header_find(p, n, "Message-ID", 0, &f))
        take_id(f.value, f.value_len, out->message_id);
    else
        take_id("", 0, out->message_id);
}

int
input_open(struct input *in, int fd)
{
    struct stat st;
    ssize_t n;

    memset(in, 0, sizeof *in);
    in->source.read = input_read;
    in->fd = fd;
    in->feeder = first_parent;
    in->is_file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    in->block = mem_alloc(INPUT_BLOCK);
    do {
        n = read_some(in, in->block + in->len, INPUT_BLOCK - in->len);
        if (n < 0)
            return (int)n;
        in->len += (size_t)n;
    } while (n > 0 && in->len < INPUT_BLOCK);
    input_look(in->block, in->len, &in->head);
    in->at = in->head.skip;
    return in->at < in->len || !in->ended ? 0 : ERR_EOF;
}

void
input_close(struct input *in)
{
    free(in->block);
    in->block = NULL;
}

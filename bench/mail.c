/*
 * The benchmark's mail: message n is the same octets on every machine, about 7 KB on average,
 * of the kinds that mailboxes hold (plain text, alternative, attachment, nested), threads of
 * five.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

struct text {
    char *data;
    size_t len, cap;
};

static void
add(struct text *t, const char *fmt, ...)
{
    va_list ap;
    int n;

    if (t->cap - t->len < 4096) {
        t->cap = t->cap * 2 + 16384;
        t->data = realloc(t->data, t->cap);
        if (t->data == NULL)
            abort();
    }
    va_start(ap, fmt);
    n = vsnprintf(t->data + t->len, t->cap - t->len, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= t->cap - t->len)
        abort();
    t->len += (size_t)n;
}

static uint32_t
next(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static const char *const words[] = {
    "the",     "letter", "of",     "march", "came",   "late",    "because", "road",  "to",
    "harbour", "was",    "closed", "and",   "nobody", "knew",    "which",   "boat",  "carried",
    "it",      "so",     "we",     "wait",  "at",     "station", "until",   "rider", "brings",
    "answer",  "from",   "north",  "where", "snow",   "lies"};
#define WORDS (sizeof words / sizeof words[0])

static void
add_prose(struct text *t, uint32_t *state, unsigned lines)
{
    unsigned i, j;

    for (i = 0; i < lines; i++) {
        for (j = 0; j < 10; j++)
            add(t, "%s%s", j > 0 ? " " : "", words[next(state) % WORDS]);
        add(t, "\r\n");
    }
}

static void
add_base64(struct text *t, uint32_t *state, unsigned lines)
{
    static const char set[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char line[77];
    unsigned i, j;

    for (i = 0; i < lines; i++) {
        for (j = 0; j < 76; j++)
            line[j] = set[next(state) % 64];
        line[76] = '\0';
        add(t, "%s\r\n", line);
    }
}

static void
add_header(struct text *t, unsigned n)
{
    static const char *const days[] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
    time_t when = 1600000000 + (time_t)n * 3600;
    struct tm tm;
    char date[64], reply[200] = "";
    unsigned root = n - n % 5;

    gmtime_r(&when, &tm);
    strftime(date, sizeof date, "%d %b %Y %H:%M:%S +0000", &tm);
    if (n != root)
        snprintf(
            reply, sizeof reply,
            "In-Reply-To: <%u@bench.example.org>\r\nReferences: <%u@bench.example.org>\r\n",
            n - 1, root);
    add(t, "Return-Path: <sender%u@example.org>\r\n", n % 97);
    add(t,
        "Received: from relay%u.example.org (relay%u.example.org [192.0.2.%u])\r\n"
        "\tby mx.example.com (Postfix) with ESMTPS id 4F%06X\r\n\tfor <user@example.com>; %s, "
        "%s\r\n",
        n % 9, n % 9, n % 250, n, days[(when / 86400) % 7], date);
    add(t, "From: \"Sender %u\" <sender%u@example.org>\r\nTo: User <user@example.com>\r\n",
        n % 97, n % 97);
    if (n % 3 == 0)
        add(t, "Cc: List <list@example.net>, other%u@example.org\r\n", n % 13);
    add(t, "Subject: %s%s %s %s number %u\r\n", n != root ? "Re: " : "", words[root % WORDS],
        words[(root / 7) % WORDS], words[(root / 3) % WORDS], root);
    add(t, "Date: %s, %s\r\nMessage-ID: <%u@bench.example.org>\r\n%s", days[(when / 86400) % 7],
        date, n, reply);
    add(t, "X-Mailer: bench 1.0\r\nMIME-Version: 1.0\r\n");
}

char *
mail_make(unsigned n, size_t *len)
{
    struct text t = {0};
    uint32_t state = n * 2654435761u + 12345;

    add_header(&t, n);
    switch (n % 4) {
    case 0: /* plain text, 1 to 10 KB */
        add(&t, "Content-Type: text/plain; charset=us-ascii\r\n\r\n");
        add_prose(&t, &state, 20 + next(&state) % 160);
        break;
    case 1: /* text and HTML */
        add(&t,
            "Content-Type: multipart/alternative; boundary=\"=_%u\"\r\n\r\n--=_%u\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n\r\n",
            n, n);
        add_prose(&t, &state, 20 + next(&state) % 60);
        add(&t,
            "\r\n--=_%u\r\nContent-Type: text/html; charset=utf-8\r\n"
            "Content-Transfer-Encoding: quoted-printable\r\n\r\n<html><body>=\r\n",
            n);
        add_prose(&t, &state, 20 + next(&state) % 80);
        add(&t, "</body></html>\r\n\r\n--=_%u--\r\n", n);
        break;
    case 2: /* an attachment */
        add(&t,
            "Content-Type: multipart/mixed; boundary=\"=_%u\"\r\n\r\n--=_%u\r\n"
            "Content-Type: text/plain; charset=us-ascii\r\n\r\n",
            n, n);
        add_prose(&t, &state, 10);
        add(&t,
            "\r\n--=_%u\r\nContent-Type: application/pdf; name=\"paper-%u.pdf\"\r\n"
            "Content-Disposition: attachment; filename=\"paper-%u.pdf\"\r\n"
            "Content-Transfer-Encoding: base64\r\n\r\n",
            n, n, n);
        add_base64(&t, &state, 40 + next(&state) % 160);
        add(&t, "\r\n--=_%u--\r\n", n);
        break;
    default: /* a forwarded message */
        add(&t,
            "Content-Type: multipart/mixed; boundary=\"=_%u\"\r\n\r\n--=_%u\r\n"
            "Content-Type: text/plain\r\n\r\nSee below.\r\n\r\n--=_%u\r\nContent-Type: "
            "message/rfc822\r\n\r\n",
            n, n, n);
        add(&t,
            "From: inner%u@example.org\r\nTo: sender@example.org\r\nSubject: inner %u\r\n"
            "Date: Sat, 12 Sep 2020 10:00:00 +0000\r\nMessage-ID: "
            "<inner%u@bench.example.org>\r\n"
            "Content-Type: text/plain\r\n\r\n",
            n, n, n);
        add_prose(&t, &state, 20 + next(&state) % 100);
        add(&t, "\r\n--=_%u--\r\n", n);
        break;
    }
    *len = t.len;
    return t.data;
}

/* Eight octets at a time, so that checking costs little beside what is measured. */
uint64_t
mail_sum(const char *data, size_t len)
{
    uint64_t sum = 0xcbf29ce484222325u ^ len, word;

    for (; len >= 8; data += 8, len -= 8) {
        memcpy(&word, data, 8);
        sum = (sum ^ word) * 0x9e3779b97f4a7c15u;
        sum ^= sum >> 29;
    }
    for (; len > 0; data++, len--)
        sum = (sum ^ (unsigned char)*data) * 0x100000001b3u;
    return sum;
}

uint64_t
mail_sum_of(unsigned n, size_t *len)
{
    char *data = mail_make(n, len);
    uint64_t sum = mail_sum(data, *len);

    free(data);
    return sum;
}

uint64_t
mail_total(unsigned count)
{
    uint64_t total = 0;
    size_t len;
    unsigned n;

    for (n = 1; n <= count; n++) {
        free(mail_make(n, &len));
        total += len;
    }
    return total;
}

void
mail_make_small(char data[SMALL_SIZE])
{
    int head = snprintf(data, SMALL_SIZE, "From: a@example.org\r\nSubject: appended\r\n\r\n");
    unsigned i;

    memset(data + head, 'x', SMALL_SIZE - (size_t)head);
    for (i = (unsigned)head + 70; i + 2 < SMALL_SIZE; i += 72)
        memcpy(data + i, "\r\n", 2);
    memcpy(data + SMALL_SIZE - 2, "\r\n", 2);
}

static int
write_message(const char *path, unsigned n, size_t *size, size_t *wire)
{
    char *data = mail_make(n, wire);
    size_t i, len = 0;
    ssize_t written;
    int fd;

    for (i = 0; i < *wire; i++)
        if (data[i] != '\r')
            data[len++] = data[i];
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd < 0) {
        free(data);
        return -1;
    }
    written = write(fd, data, len);
    close(fd);
    free(data);
    *size = len;
    return written == (ssize_t)len ? 0 : -1;
}

int
mail_deliver(const char *maildir, unsigned n)
{
    static unsigned count;
    char tmp[512], to[600];
    size_t size, wire;

    snprintf(tmp, sizeof tmp, "%s/tmp/bench.%d.%u", maildir, (int)getpid(), ++count);
    if (write_message(tmp, n, &size, &wire) < 0)
        return -1;
    snprintf(to, sizeof to, "%s/new/%ld.M%uP%d.bench,S=%zu,W=%zu", maildir, (long)time(NULL),
             count, (int)getpid(), size, wire);
    return rename(tmp, to);
}

int
mail_make_maildir(const char *dir, unsigned count)
{
    static const char *const parts[] = {"", "/cur", "/new", "/tmp"};
    char path[600], to[700];
    size_t i, size, wire;
    unsigned n;

    for (i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s%s", dir, parts[i]);
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            return -1;
    }
    for (n = 1; n <= count; n++) {
        snprintf(path, sizeof path, "%s/tmp/%u", dir, n);
        if (write_message(path, n, &size, &wire) < 0)
            return -1;
        /* every tenth is unread */
        snprintf(to, sizeof to, "%s/cur/%u.M%uP1.bench,S=%zu,W=%zu:2,%s", dir, 1600000000 + n,
                 n, size, wire, n % 10 == 0 ? "" : "S");
        if (rename(path, to) < 0)
            return -1;
    }
    return 0;
}

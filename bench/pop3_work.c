/*
 * POP3 workloads.
 */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

/* "+OK ..." -> true; the line's text goes to out. */
static bool
pop3_ok(struct client *c, char *out, size_t size)
{
    size_t len;
    char *line = client_line(c, &len);

    if (line == NULL) {
        snprintf(out, size, "connection lost");
        return false;
    }
    snprintf(out, size, "%.*s", (int)(len < size - 1 ? len : size - 1), line);
    return line[0] == '+';
}

static bool
pop3_start(struct client *c, const struct target *t, struct result *r)
{
    char text[200];

    if (!client_open(c, t, SERVICE_POP3, NULL, NULL)) {
        fault(r, "no connection");
        return false;
    }
    client_put(c, "USER %s\r\n", t->user);
    if (pop3_ok(c, text, sizeof text)) {
        client_put(c, "PASS %s\r\n", t->password);
        if (pop3_ok(c, text, sizeof text))
            return true;
    }
    fault(r, "login: %.100s", text);
    return false;
}

static void
pop3_quit(struct client *c, struct result *r)
{
    char text[200];

    client_put(c, "QUIT\r\n");
    if (!pop3_ok(c, text, sizeof text))
        fault(r, "QUIT: %.100s", text);
    client_close(c);
}

/* STAT: so many messages, of so many octets (0: not compared). */
static void
check_stat(struct client *c, struct result *r, unsigned messages, uint64_t octets)
{
    unsigned count = 0;
    unsigned long long size = 0;
    char text[200];

    client_put(c, "STAT\r\n");
    if (!pop3_ok(c, text, sizeof text) || sscanf(text, "+OK %u %llu", &count, &size) != 2 ||
        count != messages || (octets > 0 && size != octets))
        fault(r, "STAT: %.100s", text);
}

static void
run_login(const struct target *t, struct result *r)
{
    uint64_t octets = mail_total(t->messages);
    struct client c;
    unsigned i;

    timer_start(t, r);
    for (i = 0; i < 200 && pop3_start(&c, t, r); i++) {
        check_stat(&c, r, t->messages, octets);
        pop3_quit(&c, r);
    }
    timer_stop(t, r);
    r->ops = 200;
}

/* Reads a multi-line answer; returns its octets without dots and end, and how many lines. */
static size_t
read_lines(struct client *c, uint64_t *lines, char **keep, size_t *cap)
{
    size_t len, octets = 0, skip;
    char *line;

    for (*lines = 0; (line = client_line(c, &len)) != NULL; ++*lines) {
        if (len == 1 && line[0] == '.')
            return octets;
        skip = len > 0 && line[0] == '.';
        if (octets + len + 2 > *cap) {
            *cap = (octets + len) * 2 + 4096;
            *keep = realloc(*keep, *cap);
            if (*keep == NULL)
                abort();
        }
        memcpy(*keep + octets, line + skip, len - skip);
        memcpy(*keep + octets + len - skip, "\r\n", 2);
        octets += len - skip + 2;
    }
    return 0;
}

static int
compare_sums(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* Each message has its line, and an identifier of its own. */
static void
check_uidl(const struct target *t, struct result *r, const char *text, size_t len)
{
    uint64_t *sums = calloc(t->messages + 1, sizeof *sums);
    const char *p = text, *end;
    char want[16];
    unsigned n;
    size_t skip;

    if (sums == NULL)
        abort();
    for (n = 0; n < t->messages; n++, p = end + 1) {
        end = p != NULL ? memchr(p, '\n', len - (size_t)(p - text)) : NULL;
        skip = (size_t)snprintf(want, sizeof want, "%u ", n + 1);
        if (end == NULL || (size_t)(end - p) < skip + 2 || memcmp(p, want, skip) != 0) {
            fault(r, "UIDL: no line of message %u", n + 1);
            break;
        }
        sums[n] = mail_sum(p + skip, (size_t)(end - p) - skip);
    }
    qsort(sums, n, sizeof *sums, compare_sums);
    while (n > 1 && sums[n - 1] != sums[n - 2])
        n--;
    if (n > 1)
        fault(r, "UIDL: two messages have one identifier");
    free(sums);
}

/* Login, UIDL of everything, QUIT. */
static void
run_uidl(const struct target *t, struct result *r)
{
    struct client c;
    char text[200], *keep = NULL;
    size_t cap = 0, octets = 0;
    uint64_t lines = 0;

    timer_start(t, r);
    if (pop3_start(&c, t, r)) {
        client_put(&c, "UIDL\r\n");
        if (!pop3_ok(&c, text, sizeof text))
            fault(r, "UIDL: %.100s", text);
        octets = read_lines(&c, &lines, &keep, &cap);
        pop3_quit(&c, r);
    }
    timer_stop(t, r);
    if (lines != t->messages)
        fault(r, "UIDL: %lu lines", (unsigned long)lines);
    else
        check_uidl(t, r, keep, octets);
    free(keep);
    r->ops = t->messages;
}

/* RETR of 2,000, pipelined in hundreds; every octet is compared. */
static void
run_retr(const struct target *t, struct result *r)
{
    unsigned count = t->messages < 2000 ? t->messages : 2000, n, i;
    uint64_t *sums = calloc(count + 1, sizeof *sums), lines;
    char text[200], *keep = NULL;
    size_t cap = 0, octets, len;
    struct client c;

    timer_start(t, r);
    if (sums != NULL && pop3_start(&c, t, r)) {
        for (n = 1; n <= count; n += 100) {
            for (i = n; i < n + 100 && i <= count; i++)
                client_put(&c, "RETR %u\r\n", i);
            for (i = n; i < n + 100 && i <= count; i++) {
                if (!pop3_ok(&c, text, sizeof text))
                    fault(r, "RETR %u: %.100s", i, text);
                octets = read_lines(&c, &lines, &keep, &cap);
                sums[i] = mail_sum(keep, octets);
            }
        }
        pop3_quit(&c, r);
    }
    timer_stop(t, r);
    for (n = 1; sums != NULL && n <= count; n++)
        if (sums[n] != mail_sum_of(n, &len))
            fault(r, "message %u differs", n);
    free(sums);
    free(keep);
    r->ops = count;
}

/* DELE of the last 1,000, and QUIT. compare.py puts a fresh Maildir there for each round. */
static void
run_dele(const struct target *t, struct result *r)
{
    unsigned count = t->messages < 1000 ? t->messages : 1000, i;
    struct client c;
    char text[200];

    if (!pop3_start(&c, t, r))
        return;
    timer_start(t, r);
    for (i = 0; i < count; i++)
        client_put(&c, "DELE %u\r\n", t->messages - i);
    for (i = 0; i < count; i++)
        if (!pop3_ok(&c, text, sizeof text))
            fault(r, "DELE: %.100s", text);
    pop3_quit(&c, r);
    timer_stop(t, r);
    if (pop3_start(&c, t, r)) {
        check_stat(&c, r, t->messages - count, mail_total(t->messages - count));
        pop3_quit(&c, r);
    }
    r->ops = count;
}

const struct workload pop3_workloads[] = {
    {"pop3-login", "POP3 login, STAT, QUIT x200", run_login},
    {"pop3-uidl", "POP3 session with UIDL of everything", run_uidl},
    {"pop3-retr", "POP3 RETR of 2,000, pipelined", run_retr},
    {"pop3-dele", "POP3 DELE of 1,000 and QUIT", run_dele},
    {NULL, NULL, NULL}};

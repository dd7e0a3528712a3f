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

    if (line == NULL)
        return false;
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

static void
run_login(const struct target *t, struct result *r)
{
    struct client c;
    char text[200];
    unsigned i;

    timer_start(t, r);
    for (i = 0; i < 200; i++) {
        if (!pop3_start(&c, t, r))
            return;
        client_put(&c, "STAT\r\n");
        if (!pop3_ok(&c, text, sizeof text) || (unsigned)atol(text + 4) < t->messages)
            fault(r, "STAT: %.100s", text);
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
        if (keep != NULL) {
            if (octets + len + 2 > *cap) {
                *cap = (octets + len) * 2 + 4096;
                *keep = realloc(*keep, *cap);
                if (*keep == NULL)
                    abort();
            }
            memcpy(*keep + octets, line + skip, len - skip);
            memcpy(*keep + octets + len - skip, "\r\n", 2);
        }
        octets += len - skip + 2;
    }
    return 0;
}

/* Login, UIDL of everything, QUIT. */
static void
run_uidl(const struct target *t, struct result *r)
{
    struct client c;
    char text[200];
    uint64_t lines = 0;

    timer_start(t, r);
    if (pop3_start(&c, t, r)) {
        client_put(&c, "UIDL\r\n");
        if (!pop3_ok(&c, text, sizeof text))
            fault(r, "UIDL: %.100s", text);
        read_lines(&c, &lines, NULL, NULL);
        pop3_quit(&c, r);
    }
    timer_stop(t, r);
    if (lines != t->messages)
        fault(r, "UIDL: %lu lines", (unsigned long)lines);
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
        client_put(&c, "STAT\r\n");
        if (!pop3_ok(&c, text, sizeof text) || (unsigned)atol(text + 4) != t->messages - count)
            fault(r, "after DELE: %.100s", text);
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

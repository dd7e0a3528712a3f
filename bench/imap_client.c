/*
 * IMAP for the benchmark: sends tagged commands and counts what the untagged answers hold.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bench.h"

#define LINES_MAX 10000 /* that an answer in IDLE may take */

unsigned
imap_send(struct client *c, const char *fmt, ...)
{
    char command[4000];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(command, sizeof command, fmt, ap);
    va_end(ap);
    client_put(c, "t%u %s\r\n", ++c->tag, command);
    return c->tag;
}

/* Does [p, p+len) hold the word? */
static bool
holds(const char *p, size_t len, const char *word)
{
    return memmem(p, len, word, strlen(word)) != NULL;
}

static void
count_flags(struct answer *a, const char *p, const char *end)
{
    const char *list = memmem(p, (size_t)(end - p), "FLAGS (", 7), *close;

    close = list != NULL ? memchr(list, ')', (size_t)(end - list)) : NULL;
    if (close == NULL)
        return;
    a->flagged++;
    a->flagged_seen += holds(list, (size_t)(close - list), "\\Seen");
    a->flagged_flagged += holds(list, (size_t)(close - list), "\\Flagged");
}

/* Whether it's this message's own ENVELOPE shows by the Message-ID, and the BODYSTRUCTURE by
 * the boundary, where it has one: two searches a line, little beside what is measured. */
static void
count_structures(struct answer *a, unsigned long n, const char *p, const char *end)
{
    char id[64], boundary[32];

    snprintf(id, sizeof id, "\"<%lu@bench.example.org>\")", n);
    if (n % 4 != 0)
        snprintf(boundary, sizeof boundary, "\"=_%lu\"", n);
    else
        snprintf(boundary, sizeof boundary, "BODYSTRUCTURE (");
    a->structures += holds(p, (size_t)(end - p), id) && holds(p, (size_t)(end - p), boundary);
}

/* Of SEARCH, SORT and THREAD. */
static void
count_hits(struct answer *a, const char *p, const char *end)
{
    uint64_t number, last = 0;
    unsigned depth = 0;

    a->ordered = true;
    while (p < end) {
        if (isdigit((unsigned char)*p)) {
            for (number = 0; p < end && isdigit((unsigned char)*p); p++)
                number = number * 10 + (uint64_t)(*p - '0');
            a->hits++;
            a->hit_sum += number;
            a->ordered = a->ordered && number > last;
            last = number;
            continue;
        }
        if (*p == '(')
            a->threads += depth++ == 0;
        else if (*p == ')' && depth > 0)
            depth--;
        p++;
    }
}

static void
count_untagged(struct answer *a, const char *line, size_t len)
{
    const char *p = line + 2, *end = line + len, *word, *found;
    unsigned long number = 0;

    if (isdigit((unsigned char)*p)) {
        while (p < end && isdigit((unsigned char)*p))
            number = number * 10 + (unsigned long)(*p++ - '0');
        word = p + 1;
        if (end - word >= 6 && strncasecmp(word, "EXISTS", 6) == 0) {
            a->exists = (uint32_t)number;
        } else if (end - word >= 7 && strncasecmp(word, "EXPUNGE", 7) == 0) {
            a->expunged++;
        } else if (end - word >= 5 && strncasecmp(word, "FETCH", 5) == 0) {
            a->fetched++;
            a->fetch_sum += number;
            count_flags(a, word, end);
            if (holds(word, (size_t)(end - word), "ENVELOPE ("))
                count_structures(a, number, word, end);
            found = memmem(word, (size_t)(end - word), "RFC822.SIZE ", 12);
            if (found != NULL)
                a->sizes += strtoull(found + 12, NULL, 10);
        }
        return;
    }
    if (strncasecmp(p, "SEARCH", 6) == 0 || strncasecmp(p, "SORT", 4) == 0 ||
        strncasecmp(p, "THREAD", 6) == 0) {
        count_hits(a, p, end);
    } else if (strncasecmp(p, "STATUS ", 7) == 0) {
        a->statuses++;
        found = memmem(p, (size_t)(end - p), "MESSAGES ", 9);
        a->status_messages =
            found != NULL ? (uint32_t)strtoul(found + 9, NULL, 10) : UINT32_MAX;
    } else if (strncasecmp(p, "VANISHED", 8) == 0) {
        a->expunged++;
    } else if (strncasecmp(p, "OK [UIDNEXT ", 12) == 0) {
        a->uidnext = (uint32_t)strtoul(p + 12, NULL, 10);
    }
}

/* Size of the literal that a line ends with, or -1. */
static long
literal_size(const char *line, size_t len)
{
    size_t i = len;

    if (len < 3 || line[len - 1] != '}')
        return -1;
    while (i > 0 && line[i - 1] != '{')
        i--;
    return i == 0 ? -1 : strtol(line + i, NULL, 10);
}

void
imap_wait(struct client *c, unsigned tag, struct answer *a, literal_fn *fn, void *ctx)
{
    char want[16], *line, *data, head[512];
    size_t len, want_len, head_len;
    long size;

    memset(a, 0, sizeof *a);
    want_len = (size_t)snprintf(want, sizeof want, "t%u ", tag);
    for (;;) {
        line = client_line(c, &len);
        if (line == NULL)
            return;
        if (len >= want_len && memcmp(line, want, want_len) == 0) {
            a->ok = strncasecmp(line + want_len, "OK", 2) == 0;
            snprintf(a->text, sizeof a->text, "%.*s", (int)(len < 180 ? len : 180), line);
            return;
        }
        if (line[0] == '+')
            continue;
        if (len > 2 && line[0] == '*')
            count_untagged(a, line, len);
        size = literal_size(line, len);
        while (size >= 0) {
            head_len = len < sizeof head ? len : sizeof head;
            memcpy(head, line, head_len);
            data = client_bytes(c, (size_t)size);
            if (data == NULL)
                return;
            a->literals++;
            a->literal_octets += (uint64_t)size;
            if (fn != NULL)
                fn(ctx, head, head_len, data, (size_t)size);
            line = client_line(c, &len);
            if (line == NULL)
                return;
            size = literal_size(line, len);
        }
    }
}

void
imap_ask(struct client *c, struct answer *a, const char *fmt, ...)
{
    char command[4000];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(command, sizeof command, fmt, ap);
    va_end(ap);
    imap_wait(c, imap_send(c, "%s", command), a, NULL, NULL);
}

void
imap_append(struct client *c, struct answer *a, const char *mailbox, const char *data,
            size_t len)
{
    unsigned tag = ++c->tag;

    client_put(c, "t%u APPEND %s {%zu+}\r\n", tag, mailbox, len);
    client_put_bytes(c, data, len);
    client_put(c, "\r\n");
    imap_wait(c, tag, a, NULL, NULL);
}

bool
imap_wait_exists(struct client *c, unsigned wanted)
{
    double started = now();
    unsigned lines, count;
    char text[64], *line;
    size_t len;

    for (lines = 0; lines < LINES_MAX && now() - started < IDLE_PATIENCE_S; lines++) {
        if (!client_wait(c, IDLE_PATIENCE_S * 1000))
            return false;
        line = client_line(c, &len);
        if (line == NULL)
            return false;
        snprintf(text, sizeof text, "%.*s", (int)len, line);
        if (sscanf(text, "* %u EXIST", &count) == 1 && strstr(text, "EXISTS") != NULL &&
            count >= wanted)
            return true;
    }
    return false;
}

bool
imap_login(struct client *c, const struct target *t, const char *user)
{
    struct answer a;

    imap_ask(c, &a, "LOGIN %s %s", user, t->password);
    return a.ok;
}

bool
imap_start(struct client *c, const struct target *t, const char *mailbox, struct result *r)
{
    struct answer a;

    if (!client_open(c, t, SERVICE_IMAP, NULL, NULL)) {
        fault(r, "no connection");
        return false;
    }
    if (!imap_login(c, t, t->user)) {
        fault(r, "login refused");
        return false;
    }
    if (mailbox == NULL)
        return true;
    imap_ask(c, &a, "SELECT %s", mailbox);
    if (!a.ok || (strcmp(mailbox, "INBOX") == 0 && t->messages > 0 && a.exists < t->messages)) {
        fault(r, "SELECT: %u messages, %s", a.exists, a.text);
        return false;
    }
    return true;
}

bool
imap_has(struct client *c, const char *capability)
{
    unsigned tag = imap_send(c, "CAPABILITY");
    char want[16], *line, word[64];
    size_t len, want_len = (size_t)snprintf(want, sizeof want, "t%u ", tag);
    bool found = false;

    snprintf(word, sizeof word, " %s", capability);
    while ((line = client_line(c, &len)) != NULL) {
        if (len >= want_len && memcmp(line, want, want_len) == 0)
            break;
        if (len > 13 && strncasecmp(line, "* CAPABILITY", 12) == 0)
            found = holds(line, len, word);
    }
    return found;
}

/*
 * IMAP workloads of one connection that only read. Each says what it times, and checks what it
 * got: a fast wrong answer is a fault.
 */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define HEADERS "DATE FROM TO CC SUBJECT MESSAGE-ID IN-REPLY-TO"

/* `count` times connect, LOGIN, LOGOUT. */
static void
logins(const struct target *t, struct result *r, enum service service, unsigned count,
       bool resume)
{
    struct client c;
    struct answer a;
    void *ticket = NULL;
    bool resumed = false;
    unsigned i;

    if (resume) { /* the first connection gets the ticket: not timed */
        if (!client_open(&c, t, service, &ticket, NULL))
            fault(r, "no connection");
        client_close(&c);
    }
    timer_start(t, r);
    for (i = 0; i < count; i++) {
        if (!client_open(&c, t, service, resume ? &ticket : NULL, &resumed) ||
            !imap_login(&c, t, t->user))
            fault(r, "login refused");
        if (resume && !resumed)
            r->not_offered = true; /* or not by every process of the server: n/a */
        imap_ask(&c, &a, "LOGOUT");
        client_close(&c);
    }
    timer_stop(t, r);
    r->ops = count;
}

static void
run_login(const struct target *t, struct result *r)
{
    logins(t, r, SERVICE_IMAP, 200, false);
}

/* A login that costs a real hash takes 30 ms: 200 would take long. */
static void
run_login20(const struct target *t, struct result *r)
{
    logins(t, r, SERVICE_IMAP, 20, false);
}

static void
run_login_tls(const struct target *t, struct result *r)
{
    logins(t, r, SERVICE_IMAPS, 100, false);
}

static void
run_login_resumed(const struct target *t, struct result *r)
{
    logins(t, r, SERVICE_IMAPS, 100, true);
}

/* One command, `rounds` times, after SELECT; the check sees each answer; the last one is given
 * back, if wanted. */
static void
repeat(const struct target *t, struct result *r, const char *command, unsigned rounds,
       bool (*right)(const struct target *t, const struct answer *a), struct answer *last)
{
    struct client c;
    struct answer a = {0};
    unsigned i;

    if (imap_start(&c, t, "INBOX", r)) {
        timer_start(t, r);
        for (i = 0; i < rounds; i++) {
            imap_ask(&c, &a, "%s", command);
            if (!a.ok || !right(t, &a))
                fault(r, "%.40s: %u fetched, %u hits, %lu octets, %.60s", command, a.fetched,
                      a.hits, (unsigned long)a.literal_octets, a.text);
        }
        timer_stop(t, r);
    }
    client_close(&c);
    if (last != NULL)
        *last = a;
    r->ops = rounds;
}

/* The sum of the numbers 1 to n. */
static uint64_t
numbers(uint64_t n)
{
    return n * (n + 1) / 2;
}

static bool
selected(const struct target *t, const struct answer *a)
{
    /* UIDNEXT may be missing (RFC 3501 6.3.1) */
    return a->exists == t->messages && (a->uidnext == 0 || a->uidnext > t->messages);
}

static void
run_select(const struct target *t, struct result *r)
{
    repeat(t, r, "SELECT INBOX", 200, selected, NULL);
}

/* The first SELECT of a Maildir that the server never saw: compare.py makes it anew for each
 * round. */
static void
run_select_new(const struct target *t, struct result *r)
{
    struct client c;
    struct answer a;

    if (imap_start(&c, t, NULL, r)) {
        timer_start(t, r);
        imap_ask(&c, &a, "SELECT INBOX");
        timer_stop(t, r);
        if (!a.ok || !selected(t, &a))
            fault(r, "SELECT: %u messages", a.exists);
    }
    client_close(&c);
    r->ops = t->messages;
}

/* Each message was fetched, and none twice. */
static bool
each_once(const struct target *t, const struct answer *a)
{
    return a->fetched == t->messages && a->fetch_sum == numbers(t->messages);
}

static bool
all_flags(const struct target *t, const struct answer *a)
{
    return each_once(t, a) && a->flagged == t->messages &&
           a->flagged_seen == t->messages - t->messages / 10;
}

static void
run_flags(const struct target *t, struct result *r)
{
    repeat(t, r, "UID FETCH 1:* (FLAGS)", 5, all_flags, NULL);
    r->ops = 5ull * t->messages;
}

static bool
all_structures(const struct target *t, const struct answer *a)
{
    return each_once(t, a) && a->structures == t->messages;
}

/* Run twice in a row on a fresh index, this is "first time" and "again". */
static void
run_structure(const struct target *t, struct result *r)
{
    struct answer a = {0};

    repeat(t, r, "FETCH 1:* (ENVELOPE BODYSTRUCTURE INTERNALDATE RFC822.SIZE)", 1,
           all_structures, &a);
    if (a.sizes != mail_total(t->messages))
        fault(r, "RFC822.SIZE: %llu octets together", (unsigned long long)a.sizes);
    r->ops = t->messages;
}

/* Leaves of a message what FETCH of these fields gives: they, and the empty line. */
static size_t
keep_header_fields(char *data)
{
    static const char *const fields[] = {
        "Date:", "From:", "To:", "Cc:", "Subject:", "Message-ID:", "In-Reply-To:"};
    char *from = data, *to = data, *end;
    bool wanted = false;
    size_t i;

    for (; from[0] != '\r'; from = end) {
        end = strchr(from, '\n') + 1;
        if (from[0] != ' ' && from[0] != '\t')
            for (wanted = false, i = 0; i < sizeof fields / sizeof fields[0]; i++)
                wanted = wanted || strncmp(from, fields[i], strlen(fields[i])) == 0;
        if (wanted) {
            memmove(to, from, (size_t)(end - from));
            to += end - from;
        }
    }
    memcpy(to, "\r\n", 2);
    return (size_t)(to + 2 - data);
}

/* Seven header fields of all; every octet is compared. */
static void
run_headers(const struct target *t, struct result *r)
{
    struct sums s = {.sum = calloc(t->messages + 1, sizeof *s.sum), .max = t->messages};
    struct client c;
    struct answer a;
    char *data;
    size_t len;
    unsigned n;

    if (s.sum != NULL && imap_start(&c, t, "INBOX", r)) {
        timer_start(t, r);
        imap_wait(&c, imap_send(&c, "FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (" HEADERS ")])"),
                  &a, keep_sum, &s);
        timer_stop(t, r);
        if (!a.ok || s.count != t->messages || !each_once(t, &a))
            fault(r, "headers of %zu messages, %.80s", s.count, a.text);
        for (n = 1; n <= t->messages && n <= s.count; n++) {
            data = mail_make(n, &len);
            if (s.sum[n - 1] != mail_sum(data, keep_header_fields(data)))
                fault(r, "headers of message %u differ", n);
            free(data);
        }
    }
    client_close(&c);
    free(s.sum);
    r->ops = t->messages;
}

/* Full messages 1..2000; every octet is compared with what was put there. */
static void
run_full(const struct target *t, struct result *r)
{
    unsigned count = t->messages < 2000 ? t->messages : 2000;
    struct sums s = {.sum = calloc(count, sizeof *s.sum), .max = count};
    struct client c;
    struct answer a;

    if (s.sum != NULL && imap_start(&c, t, "INBOX", r)) {
        timer_start(t, r);
        imap_wait(&c, imap_send(&c, "FETCH 1:%u BODY.PEEK[]", count), &a, keep_sum, &s);
        timer_stop(t, r);
        check_sums(r, &a, &s, 1);
    }
    client_close(&c);
    free(s.sum);
    r->ops = count;
}

/* Single FETCHes of random messages, one after the other. */
static void
run_fetch_random(const struct target *t, struct result *r)
{
    struct client c;
    struct answer a;
    struct sums s;
    uint64_t sum[500];
    unsigned wanted[500], i, state = 99;
    size_t len;

    if (imap_start(&c, t, "INBOX", r)) {
        timer_start(t, r);
        for (i = 0; i < 500; i++) {
            state = state * 1664525u + 1013904223u;
            wanted[i] = (state >> 8) % t->messages + 1;
            s = (struct sums){.sum = &sum[i], .max = 1};
            imap_wait(&c, imap_send(&c, "FETCH %u (FLAGS BODY.PEEK[])", wanted[i]), &a,
                      keep_sum, &s);
            if (!a.ok || s.count != 1)
                fault(r, "message %u: %.80s", wanted[i], a.text);
        }
        timer_stop(t, r);
        for (i = 0; i < 500; i++)
            if (sum[i] != mail_sum_of(wanted[i], &len))
                fault(r, "message %u differs", wanted[i]);
    }
    client_close(&c);
    r->ops = 500;
}

static bool
unseen(const struct target *t, const struct answer *a)
{
    return a->hits == t->messages / 10 && a->hit_sum == 10 * numbers(t->messages / 10);
}

static void
run_search_unseen(const struct target *t, struct result *r)
{
    repeat(t, r, "SEARCH UNSEEN", 20, unseen, NULL);
}

/* What SEARCH should find, known only from the text itself: how many messages, and the sum of
 * their numbers. */
struct expected {
    unsigned hits;
    uint64_t sum;
};

/* The phrase (in small letters) in the part of a message that begins with `from` and ends
 * before `to`. */
static struct expected
expect(const struct target *t, const char *phrase, const char *from, const char *to)
{
    struct expected e = {0};
    char *data, *start, *end;
    size_t len, i;
    unsigned n;

    for (n = 1; n <= t->messages; n++) {
        data = mail_make(n, &len);
        start = memmem(data, len, from, strlen(from));
        end = start == NULL || to == NULL
                  ? NULL
                  : memmem(start + 1, len - (size_t)(start + 1 - data), to, strlen(to));
        if (end == NULL)
            end = data + len;
        for (i = 0; start != NULL && start + i < end; i++)
            if (start[i] >= 'A' && start[i] <= 'Z')
                start[i] = (char)(start[i] + 32);
        if (start != NULL &&
            memmem(start, (size_t)(end - start), phrase, strlen(phrase)) != NULL) {
            e.hits++;
            e.sum += n;
        }
        free(data);
    }
    return e;
}

static void
search_text(const struct target *t, struct result *r, const char *key, const char *phrase,
            struct expected e)
{
    struct client c;
    struct answer a;

    if (imap_start(&c, t, "INBOX", r)) {
        timer_start(t, r);
        imap_ask(&c, &a, "SEARCH %s \"%s\"", key, phrase);
        timer_stop(t, r);
        if (!a.ok || a.hits != e.hits || a.hit_sum != e.sum)
            fault(r, "SEARCH %s: %u hits, should be %u%s", key, a.hits, e.hits,
                  a.hits == e.hits ? " others" : "");
    }
    client_close(&c);
    r->ops = t->messages;
}

static void
run_search_subject(const struct target *t, struct result *r)
{
    search_text(t, r, "SUBJECT", "harbour", expect(t, "harbour", "\r\nSubject:", "\r\n"));
}

static void
run_search_body(const struct target *t, struct result *r)
{
    static const char phrase[] = "rider brings snow";

    search_text(t, r, "BODY", phrase, expect(t, phrase, "\r\n\r\n", NULL));
}

/* The dates rise with the numbers. */
static bool
by_date(const struct target *t, const struct answer *a)
{
    return a->hits == t->messages && a->hit_sum == numbers(t->messages) && a->ordered;
}

/* Every five messages refer to one, whether it's there or not. */
static bool
in_fives(const struct target *t, const struct answer *a)
{
    return a->hits == t->messages && a->hit_sum == numbers(t->messages) &&
           a->threads == t->messages / 5 + 1;
}

static void
if_offered(const struct target *t, struct result *r, const char *capability,
           const char *command, bool (*right)(const struct target *, const struct answer *))
{
    struct client c;

    if (imap_start(&c, t, NULL, r) && !imap_has(&c, capability))
        r->not_offered = true;
    client_close(&c);
    if (!r->not_offered && r->fault[0] == '\0')
        repeat(t, r, command, 1, right, NULL);
}

static void
run_sort(const struct target *t, struct result *r)
{
    if_offered(t, r, "SORT", "SORT (DATE) UTF-8 ALL", by_date);
}

static void
run_thread(const struct target *t, struct result *r)
{
    if_offered(t, r, "THREAD=REFERENCES", "THREAD REFERENCES UTF-8 ALL", in_fives);
}

/* QRESYNC SELECT after 100 changes. */
static void
run_qresync(const struct target *t, struct result *r)
{
    struct client c;
    struct answer a;
    unsigned long validity, modseq;
    unsigned i;

    if (!imap_start(&c, t, NULL, r) || !imap_has(&c, "QRESYNC")) {
        r->not_offered = true;
        client_close(&c);
        return;
    }
    imap_ask(&c, &a, "ENABLE QRESYNC");
    imap_ask(&c, &a, "STATUS INBOX (UIDVALIDITY)");
    client_put(&c, "v STATUS INBOX (UIDVALIDITY HIGHESTMODSEQ)\r\n");
    validity = modseq = 0;
    for (;;) {
        size_t len;
        char *line = client_line(&c, &len), *p;

        if (line == NULL || (len > 2 && line[0] == 'v'))
            break;
        line[len] = '\0';
        if ((p = strstr(line, "UIDVALIDITY ")) != NULL)
            validity = strtoul(p + 12, NULL, 10);
        if ((p = strstr(line, "HIGHESTMODSEQ ")) != NULL)
            modseq = strtoul(p + 14, NULL, 10);
    }
    imap_ask(&c, &a, "SELECT INBOX");
    imap_ask(&c, &a, "STORE 1:100 +FLAGS.SILENT (\\Answered)");
    timer_start(t, r);
    for (i = 0; i < 20; i++) {
        imap_ask(&c, &a, "SELECT INBOX (QRESYNC (%lu %lu))", validity, modseq);
        if (!a.ok || a.fetched != 100 || a.fetch_sum != numbers(100))
            fault(r, "QRESYNC: %u fetched, %.80s", a.fetched, a.text);
    }
    timer_stop(t, r);
    imap_ask(&c, &a, "STORE 1:100 -FLAGS.SILENT (\\Answered)");
    client_close(&c);
    r->ops = 20;
}

/* A 20 MB message in pieces of 64 KB, as Thunderbird reads it. */
static void
run_chunks(const struct target *t, struct result *r)
{
    const size_t size = 20u << 20, piece = 65536;
    char *data = malloc(size);
    struct client c;
    struct answer a;
    struct sums s;
    uint64_t sum;
    size_t at, n;
    int head;

    if (data != NULL && imap_start(&c, t, NULL, r)) {
        head = snprintf(data, 200, "From: a@example.org\r\nSubject: large\r\n\r\n");
        for (at = (size_t)head; at < size; at++)
            data[at] = (char)('a' + at * 7 / 78 % 26);
        for (at = (size_t)head + 76; at + 2 <= size; at += 78)
            memcpy(data + at, "\r\n", 2);
        memcpy(data + size - 2, "\r\n", 2);
        imap_ask(&c, &a, "DELETE bench-large");
        imap_ask(&c, &a, "CREATE bench-large");
        imap_append(&c, &a, "bench-large", data, size);
        imap_ask(&c, &a, "SELECT bench-large");
        timer_start(t, r);
        for (at = 0; at < size; at += piece) {
            n = size - at < piece ? size - at : piece;
            s = (struct sums){.sum = &sum, .max = 1};
            imap_wait(&c, imap_send(&c, "UID FETCH 1 BODY.PEEK[]<%zu.%zu>", at, piece), &a,
                      keep_sum, &s);
            if (!a.ok || s.count != 1 || sum != mail_sum(data + at, n)) {
                fault(r, "piece at %zu differs", at);
                break;
            }
        }
        timer_stop(t, r);
        imap_ask(&c, &a, "CLOSE");
        imap_ask(&c, &a, "DELETE bench-large");
    }
    client_close(&c);
    free(data);
    r->ops = size / piece;
}

const struct workload imap_workloads[] = {
    {"login", "IMAP connect, LOGIN, LOGOUT x200", run_login},
    {"login20", "the same x20", run_login20},
    {"login-tls", "the same over TLS, full handshake, x100", run_login_tls},
    {"login-resumed", "the same with a resumed TLS session, x100", run_login_resumed},
    {"select-new", "SELECT of a Maildir never seen", run_select_new},
    {"select", "SELECT, warm, x200", run_select},
    {"flags", "UID FETCH 1:* (FLAGS) x5", run_flags},
    {"structure", "FETCH 1:* (ENVELOPE BODYSTRUCTURE INTERNALDATE RFC822.SIZE)", run_structure},
    {"headers", "FETCH 1:* of 7 header fields", run_headers},
    {"full", "FETCH 1:2000 BODY.PEEK[]", run_full},
    {"fetch-random", "FETCH of one random message x500", run_fetch_random},
    {"chunks", "20 MB message in pieces of 64 KB", run_chunks},
    {"search-unseen", "SEARCH UNSEEN x20", run_search_unseen},
    {"search-subject", "SEARCH SUBJECT", run_search_subject},
    {"search-body", "SEARCH BODY", run_search_body},
    {"sort", "SORT (DATE)", run_sort},
    {"thread", "THREAD REFERENCES", run_thread},
    {"qresync", "QRESYNC SELECT after 100 changes x20", run_qresync},
    {NULL, NULL, NULL}};

/*
 * IMAP workloads of one connection. Each says what it times, and checks what it got: a fast
 * wrong answer is a fault.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* One command, `rounds` times, after SELECT; the check sees each answer. */
static void
repeat(const struct target *t, struct result *r, const char *command, unsigned rounds,
       bool (*right)(const struct target *t, const struct answer *a))
{
    struct client c;
    struct answer a;
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
    r->ops = rounds;
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
    repeat(t, r, "SELECT INBOX", 20, selected);
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

static bool
all_flags(const struct target *t, const struct answer *a)
{
    return a->fetched == t->messages && a->flagged == t->messages;
}

static void
run_flags(const struct target *t, struct result *r)
{
    repeat(t, r, "UID FETCH 1:* (FLAGS)", 5, all_flags);
    r->ops = 5ull * t->messages;
}

static uint64_t
total_size(const struct target *t)
{
    static uint64_t total;
    static unsigned of;
    size_t len;
    unsigned n;

    if (of != t->messages) {
        for (total = 0, n = 1; n <= t->messages; n++) {
            free(mail_make(n, &len));
            total += len;
        }
        of = t->messages;
    }
    return total;
}

static bool
all_structures(const struct target *t, const struct answer *a)
{
    return a->fetched == t->messages && a->structures == t->messages &&
           a->sizes == total_size(t);
}

/* Run twice in a row on a fresh index, this is "first time" and "again". */
static void
run_structure(const struct target *t, struct result *r)
{
    total_size(t);
    repeat(t, r, "FETCH 1:* (ENVELOPE BODYSTRUCTURE INTERNALDATE RFC822.SIZE)", 1,
           all_structures);
    r->ops = t->messages;
}

static bool
all_headers(const struct target *t, const struct answer *a)
{
    return a->fetched == t->messages && a->literals == t->messages &&
           a->literal_octets > 150ull * t->messages;
}

static void
run_headers(const struct target *t, struct result *r)
{
    repeat(t, r, "FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (" HEADERS ")])", 1, all_headers);
    r->ops = t->messages;
}

struct sums {
    uint64_t *sum;
    size_t count, max;
};

static void
keep_sum(void *ctx, const char *line, size_t line_len, const char *data, size_t len)
{
    struct sums *s = ctx;

    (void)line;
    (void)line_len;
    if (s->count < s->max)
        s->sum[s->count] = mail_sum(data, len);
    s->count++;
}

/* Full messages 1..2000; every octet is compared with what was put there. */
static void
run_full(const struct target *t, struct result *r)
{
    unsigned count = t->messages < 2000 ? t->messages : 2000, n;
    struct sums s = {.sum = calloc(count, sizeof *s.sum), .max = count};
    struct client c;
    struct answer a;
    size_t len;

    if (s.sum != NULL && imap_start(&c, t, "INBOX", r)) {
        timer_start(t, r);
        imap_wait(&c, imap_send(&c, "FETCH 1:%u BODY.PEEK[]", count), &a, keep_sum, &s);
        timer_stop(t, r);
        if (!a.ok || s.count != count)
            fault(r, "%zu of %u messages", s.count, count);
        for (n = 1; n <= count && n <= s.count; n++)
            if (s.sum[n - 1] != mail_sum_of(n, &len))
                fault(r, "message %u differs", n);
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

/* STORE 1:5000 +FLAGS and -FLAGS. */
static void
run_store(const struct target *t, struct result *r)
{
    unsigned count = t->messages < 5000 ? t->messages : 5000, i;
    struct client c;
    struct answer a;

    if (imap_start(&c, t, "INBOX", r)) {
        timer_start(t, r);
        for (i = 0; i < 2; i++) {
            imap_ask(&c, &a, "STORE 1:%u %cFLAGS (\\Flagged)", count, i == 0 ? '+' : '-');
            if (!a.ok || a.fetched != count)
                fault(r, "STORE: %u answers, %.80s", a.fetched, a.text);
        }
        timer_stop(t, r);
    }
    client_close(&c);
    r->ops = 2 * count;
}

/* One STORE at a time. */
static void
run_store_single(const struct target *t, struct result *r)
{
    struct client c;
    struct answer a;
    unsigned i;

    if (imap_start(&c, t, "INBOX", r)) {
        timer_start(t, r);
        for (i = 0; i < 1000; i++) {
            imap_ask(&c, &a, "STORE %u %cFLAGS (\\Flagged)", (i / 2) * 7 % t->messages + 1,
                     i % 2 == 0 ? '+' : '-');
            if (!a.ok || a.fetched != 1)
                fault(r, "STORE: %u answers, %.80s", a.fetched, a.text);
        }
        timer_stop(t, r);
    }
    client_close(&c);
    r->ops = 1000;
}

static bool
unseen(const struct target *t, const struct answer *a)
{
    return a->hits == t->messages / 10;
}

static void
run_search_unseen(const struct target *t, struct result *r)
{
    repeat(t, r, "SEARCH UNSEEN", 20, unseen);
}

static bool
some_hits(const struct target *t, const struct answer *a)
{
    return a->hits > 0 && a->hits < t->messages;
}

static void
run_search_subject(const struct target *t, struct result *r)
{
    repeat(t, r, "SEARCH SUBJECT harbour", 1, some_hits);
}

/* A phrase that only message bodies hold, in some of them; how many is known only from the text
 * itself. */
static unsigned
bodies_with(const struct target *t, const char *phrase)
{
    unsigned n, hits = 0;
    size_t len, i;
    char *data, *body;

    for (n = 1; n <= t->messages; n++) {
        data = mail_make(n, &len);
        body = memmem(data, len, "\r\n\r\n", 4);
        for (i = 0; body != NULL && (size_t)(body - data) + i < len; i++)
            if (body[i] >= 'A' && body[i] <= 'Z')
                body[i] = (char)(body[i] + 32);
        hits += body != NULL &&
                memmem(body, len - (size_t)(body - data), phrase, strlen(phrase)) != NULL;
        free(data);
    }
    return hits;
}

static void
run_search_body(const struct target *t, struct result *r)
{
    static const char phrase[] = "rider brings snow";
    unsigned want = bodies_with(t, phrase);
    struct client c;
    struct answer a;

    if (imap_start(&c, t, "INBOX", r)) {
        timer_start(t, r);
        imap_ask(&c, &a, "SEARCH BODY \"%s\"", phrase);
        timer_stop(t, r);
        if (!a.ok || a.hits != want)
            fault(r, "SEARCH BODY: %u hits, should be %u", a.hits, want);
    }
    client_close(&c);
    r->ops = t->messages;
}

static bool
every_message(const struct target *t, const struct answer *a)
{
    return a->hits == t->messages;
}

static void
if_offered(const struct target *t, struct result *r, const char *capability,
           const char *command)
{
    struct client c;

    if (imap_start(&c, t, NULL, r) && !imap_has(&c, capability))
        r->not_offered = true;
    client_close(&c);
    if (!r->not_offered && r->fault[0] == '\0')
        repeat(t, r, command, 1, every_message);
}

static void
run_sort(const struct target *t, struct result *r)
{
    if_offered(t, r, "SORT", "SORT (DATE) UTF-8 ALL");
}

static void
run_thread(const struct target *t, struct result *r)
{
    if_offered(t, r, "THREAD=REFERENCES", "THREAD REFERENCES UTF-8 ALL");
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
        if (!a.ok || a.fetched != 100)
            fault(r, "QRESYNC: %u fetched, %.80s", a.fetched, a.text);
    }
    timer_stop(t, r);
    imap_ask(&c, &a, "STORE 1:100 -FLAGS.SILENT (\\Answered)");
    client_close(&c);
    r->ops = 20;
}

static void
append_one(struct client *c, struct answer *a, const char *mailbox, const char *data,
           size_t len)
{
    unsigned tag = ++c->tag;

    client_put(c, "t%u APPEND %s {%zu+}\r\n", tag, mailbox, len);
    client_put_bytes(c, data, len);
    client_put(c, "\r\n");
    imap_wait(c, tag, a, NULL, NULL);
}

/* 500 messages of 4 KB, one connection, each waited for. */
static void
run_append(const struct target *t, struct result *r)
{
    struct client c;
    struct answer a;
    char data[4096];
    unsigned i;
    int head;

    if (!imap_start(&c, t, NULL, r)) {
        client_close(&c);
        return;
    }
    imap_ask(&c, &a, "DELETE bench-append");
    imap_ask(&c, &a, "CREATE bench-append");
    head = snprintf(data, sizeof data, "From: a@example.org\r\nSubject: appended\r\n\r\n");
    memset(data + head, 'x', sizeof data - (size_t)head);
    for (i = (unsigned)head + 70; i + 2 < sizeof data; i += 72)
        memcpy(data + i, "\r\n", 2);
    memcpy(data + sizeof data - 2, "\r\n", 2);
    timer_start(t, r);
    for (i = 0; i < 500; i++) {
        append_one(&c, &a, "bench-append", data, sizeof data);
        if (!a.ok)
            fault(r, "APPEND: %.100s", a.text);
    }
    timer_stop(t, r);
    imap_ask(&c, &a, "SELECT bench-append");
    if (a.exists != 500)
        fault(r, "%u messages after 500 APPENDs", a.exists);
    imap_ask(&c, &a, "CLOSE");
    imap_ask(&c, &a, "DELETE bench-append");
    client_close(&c);
    r->ops = 500;
}

/* COPY of 2,000, then (as a workload of its own) their EXPUNGE. */
static void
copy_or_expunge(const struct target *t, struct result *r, bool expunge)
{
    unsigned count = t->messages < 2000 ? t->messages : 2000;
    struct client c;
    struct answer a;

    if (!imap_start(&c, t, "INBOX", r)) {
        client_close(&c);
        return;
    }
    imap_ask(&c, &a, "DELETE bench-copy");
    imap_ask(&c, &a, "CREATE bench-copy");
    if (expunge) { /* of a mailbox that holds all */
        imap_ask(&c, &a, "COPY 1:* bench-copy");
        imap_ask(&c, &a, "SELECT bench-copy");
        imap_ask(&c, &a, "STORE 1:%u +FLAGS.SILENT (\\Deleted)", count);
    }
    timer_start(t, r);
    if (expunge)
        imap_ask(&c, &a, "EXPUNGE");
    else
        imap_ask(&c, &a, "COPY 1:%u bench-copy", count);
    timer_stop(t, r);
    if (!a.ok || (expunge && a.expunged != count))
        fault(r, "%u expunged, %.100s", a.expunged, a.text);
    imap_ask(&c, &a, "SELECT bench-copy");
    if (a.exists != (expunge ? t->messages - count : count))
        fault(r, "%u messages afterwards", a.exists);
    imap_ask(&c, &a, "CLOSE");
    imap_ask(&c, &a, "DELETE bench-copy");
    client_close(&c);
    r->ops = count;
}

static void
run_copy(const struct target *t, struct result *r)
{
    copy_or_expunge(t, r, false);
}

static void
run_expunge(const struct target *t, struct result *r)
{
    copy_or_expunge(t, r, true);
}

/* 100 NOOPs with 10 deliveries in between. */
static void
run_noop(const struct target *t, struct result *r)
{
    struct client c;
    struct answer a;
    unsigned i, exists = t->messages;

    if (t->maildir == NULL) {
        r->not_offered = true;
        return;
    }
    if (imap_start(&c, t, "INBOX", r)) {
        timer_start(t, r);
        for (i = 0; i < 100; i++) {
            if (i % 10 == 5 && mail_deliver(t->maildir, t->messages + 1 + i) < 0)
                fault(r, "can't deliver");
            imap_ask(&c, &a, "NOOP");
            if (a.exists > 0)
                exists = a.exists;
        }
        timer_stop(t, r);
        if (exists != t->messages + 10)
            fault(r, "%u messages, should be %u", exists, t->messages + 10);
        imap_ask(&c, &a, "STORE %u:* +FLAGS.SILENT (\\Deleted)", t->messages + 1);
        imap_ask(&c, &a, "EXPUNGE");
    }
    client_close(&c);
    r->ops = 100;
}

static int
compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* From the rename of a delivery to `* EXISTS` in IDLE: the median of 20, in milliseconds. */
static void
run_idle_latency(const struct target *t, struct result *r)
{
    struct client c;
    struct answer a;
    double ms[20], started;
    unsigned i, tag;
    size_t len;
    char *line;

    if (t->maildir == NULL) {
        r->not_offered = true;
        return;
    }
    if (imap_start(&c, t, "INBOX", r)) {
        timer_start(t, r);
        tag = imap_send(&c, "IDLE");
        line = client_line(&c, &len);
        for (i = 0; i < 20 && line != NULL; i++) {
            usleep(50000);
            started = now();
            if (mail_deliver(t->maildir, t->messages + 1 + i) < 0)
                fault(r, "can't deliver");
            do
                line = client_line(&c, &len);
            while (line != NULL && memmem(line, len, "EXISTS", 6) == NULL);
            ms[i] = (now() - started) * 1000;
        }
        timer_stop(t, r);
        client_put(&c, "DONE\r\n");
        imap_wait(&c, tag, &a, NULL, NULL);
        qsort(ms, 20, sizeof *ms, compare_doubles);
        r->value = ms[10];
        r->unit = "ms";
        imap_ask(&c, &a, "STORE %u:* +FLAGS.SILENT (\\Deleted)", t->messages + 1);
        imap_ask(&c, &a, "EXPUNGE");
    }
    client_close(&c);
    r->ops = 20;
}

/* STATUS of 200 folders. */
static void
run_status(const struct target *t, struct result *r)
{
    struct client c;
    struct answer a;
    unsigned i;

    if (imap_start(&c, t, NULL, r)) {
        for (i = 0; i < 200; i++)
            imap_ask(&c, &a, "CREATE bench-status.f%u", i);
        for (i = 0; i < 200; i++)
            imap_ask(&c, &a, "STATUS bench-status.f%u (MESSAGES UNSEEN UIDNEXT UIDVALIDITY)",
                     i);
        timer_start(t, r);
        for (i = 0; i < 200; i++) {
            imap_ask(&c, &a, "STATUS bench-status.f%u (MESSAGES UNSEEN UIDNEXT UIDVALIDITY)",
                     i);
            if (!a.ok || a.statuses != 1)
                fault(r, "STATUS: %.100s", a.text);
        }
        timer_stop(t, r);
        for (i = 0; i < 200; i++)
            imap_ask(&c, &a, "DELETE bench-status.f%u", i);
    }
    client_close(&c);
    r->ops = 200;
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
        append_one(&c, &a, "bench-large", data, size);
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
    {"select", "SELECT, warm, x20", run_select},
    {"flags", "UID FETCH 1:* (FLAGS) x5", run_flags},
    {"structure", "FETCH 1:* (ENVELOPE BODYSTRUCTURE INTERNALDATE RFC822.SIZE)", run_structure},
    {"headers", "FETCH 1:* of 7 header fields", run_headers},
    {"full", "FETCH 1:2000 BODY.PEEK[]", run_full},
    {"fetch-random", "FETCH of one random message x500", run_fetch_random},
    {"chunks", "20 MB message in pieces of 64 KB", run_chunks},
    {"store", "STORE 1:5000 +FLAGS, -FLAGS", run_store},
    {"store-single", "STORE of one message x1000", run_store_single},
    {"search-unseen", "SEARCH UNSEEN x20", run_search_unseen},
    {"search-subject", "SEARCH SUBJECT", run_search_subject},
    {"search-body", "SEARCH BODY", run_search_body},
    {"sort", "SORT (DATE)", run_sort},
    {"thread", "THREAD REFERENCES", run_thread},
    {"qresync", "QRESYNC SELECT after 100 changes x20", run_qresync},
    {"append", "APPEND of 4 KB x500, one connection", run_append},
    {"copy", "COPY 1:2000", run_copy},
    {"expunge", "EXPUNGE of 2,000", run_expunge},
    {"noop", "100 NOOP with 10 deliveries", run_noop},
    {"idle-latency", "delivery to EXISTS in IDLE, median", run_idle_latency},
    {"status", "STATUS of 200 folders", run_status},
    {NULL, NULL, NULL}};

/*
 * IMAP workloads of one connection that change mail, or see it changed by others. What they
 * made is read again, out of the timed part.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

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
            if (!a.ok || a.fetched != count ||
                a.fetch_sum != (uint64_t)count * (count + 1) / 2 ||
                a.flagged_flagged != (i == 0 ? count : 0))
                fault(r, "STORE: %u answers, %u set, %.80s", a.fetched, a.flagged_flagged,
                      a.text);
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
    unsigned i, n;

    if (imap_start(&c, t, "INBOX", r)) {
        timer_start(t, r);
        for (i = 0; i < 1000; i++) {
            n = (i / 2) * 7 % t->messages + 1;
            imap_ask(&c, &a, "STORE %u %cFLAGS (\\Flagged)", n, i % 2 == 0 ? '+' : '-');
            if (!a.ok || a.fetched != 1 || a.fetch_sum != n ||
                a.flagged_flagged != (i % 2 == 0))
                fault(r, "STORE %u: %u answers, %u set, %.80s", n, a.fetched, a.flagged_flagged,
                      a.text);
        }
        timer_stop(t, r);
    }
    client_close(&c);
    r->ops = 1000;
}

/* 500 messages of 4 KB, one connection, each waited for. */
static void
run_append(const struct target *t, struct result *r)
{
    struct client c;
    struct answer a;
    char data[SMALL_SIZE];
    unsigned i;

    if (!imap_start(&c, t, NULL, r)) {
        client_close(&c);
        return;
    }
    imap_ask(&c, &a, "DELETE bench-append");
    imap_ask(&c, &a, "CREATE bench-append");
    mail_make_small(data);
    timer_start(t, r);
    for (i = 0; i < 500; i++) {
        imap_append(&c, &a, "bench-append", data, sizeof data);
        if (!a.ok)
            fault(r, "APPEND: %.100s", a.text);
    }
    timer_stop(t, r);
    check_appended(&c, r, "bench-append", 500);
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
    if (!expunge)
        check_mail(&c, r, 1, count);
    else if (a.exists > 0)
        check_mail(&c, r, count + 1, a.exists < 200 ? a.exists : 200);
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
        if (line == NULL || line[0] != '+')
            fault(r, "no IDLE");
        for (i = 0; i < 20 && r->fault[0] == '\0'; i++) {
            usleep(50000);
            started = now();
            if (mail_deliver(t->maildir, t->messages + 1 + i) < 0)
                fault(r, "can't deliver");
            if (!imap_wait_exists(&c, t->messages + 1 + i)) {
                fault(r, "a delivery wasn't announced in %u s", IDLE_PATIENCE_S);
                break;
            }
            ms[i] = (now() - started) * 1000;
        }
        timer_stop(t, r);
        client_put(&c, "DONE\r\n");
        imap_wait(&c, tag, &a, NULL, NULL);
        r->value = median(ms, i);
        r->unit = "ms";
        imap_ask(&c, &a, "STORE %u:* +FLAGS.SILENT (\\Deleted)", t->messages + 1);
        imap_ask(&c, &a, "EXPUNGE");
    }
    client_close(&c);
    r->ops = 20;
}

/* STATUS of 200 folders of one to three messages. */
static void
run_status(const struct target *t, struct result *r)
{
    struct client c;
    struct answer a;
    unsigned i;

    if (imap_start(&c, t, "INBOX", r)) {
        for (i = 0; i < 200; i++) {
            imap_ask(&c, &a, "CREATE bench-status.f%u", i);
            imap_ask(&c, &a, "COPY 1:%u bench-status.f%u", 1 + i % 3, i);
        }
        imap_ask(&c, &a, "CLOSE");
        for (i = 0; i < 200; i++)
            imap_ask(&c, &a, "STATUS bench-status.f%u (MESSAGES UNSEEN UIDNEXT UIDVALIDITY)",
                     i);
        timer_start(t, r);
        for (i = 0; i < 200; i++) {
            imap_ask(&c, &a, "STATUS bench-status.f%u (MESSAGES UNSEEN UIDNEXT UIDVALIDITY)",
                     i);
            if (!a.ok || a.statuses != 1 || a.status_messages != 1 + i % 3)
                fault(r, "STATUS: %.100s", a.text);
        }
        timer_stop(t, r);
        for (i = 0; i < 200; i++)
            imap_ask(&c, &a, "DELETE bench-status.f%u", i);
    }
    client_close(&c);
    r->ops = 200;
}

const struct workload change_workloads[] = {
    {"store", "STORE 1:5000 +FLAGS, -FLAGS", run_store},
    {"store-single", "STORE of one message x1000", run_store_single},
    {"append", "APPEND of 4 KB x500, one connection", run_append},
    {"copy", "COPY 1:2000", run_copy},
    {"expunge", "EXPUNGE of 2,000", run_expunge},
    {"noop", "100 NOOP with 10 deliveries", run_noop},
    {"idle-latency", "delivery to EXISTS in IDLE, median", run_idle_latency},
    {"status", "STATUS of 200 folders", run_status},
    {NULL, NULL, NULL}};

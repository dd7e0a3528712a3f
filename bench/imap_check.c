/*
 * Checks of messages that come over IMAP: every octet against what mail.c makes.
 */
#include <stdlib.h>

#include "bench.h"

void
keep_sum(void *ctx, const char *line, size_t line_len, const char *data, size_t len)
{
    struct sums *s = ctx;

    (void)line;
    (void)line_len;
    if (s->count < s->max)
        s->sum[s->count] = mail_sum(data, len);
    s->count++;
}

void
check_sums(struct result *r, const struct answer *a, const struct sums *s, unsigned first)
{
    size_t i, len;

    if (!a->ok || s->count != s->max)
        fault(r, "%zu of %zu messages, %.80s", s->count, s->max, a->text);
    for (i = 0; i < s->max && i < s->count; i++)
        if (s->sum[i] != mail_sum_of(first + (unsigned)i, &len))
            fault(r, "message %u differs", first + (unsigned)i);
}

/* FETCH of messages 1 to count, of which `s` keeps the sums. */
static void
fetch_sums(struct client *c, struct answer *a, struct sums *s, unsigned count)
{
    *s = (struct sums){.sum = calloc(count, sizeof *s->sum), .max = count};
    if (s->sum == NULL)
        abort();
    imap_wait(c, imap_send(c, "FETCH 1:%u BODY.PEEK[]", count), a, keep_sum, s);
}

void
check_mail(struct client *c, struct result *r, unsigned first, unsigned count)
{
    struct answer a;
    struct sums s;

    fetch_sums(c, &a, &s, count);
    check_sums(r, &a, &s, first);
    free(s.sum);
}

void
check_appended(struct client *c, struct result *r, const char *mailbox, unsigned count)
{
    struct answer a;
    struct sums s;
    char data[SMALL_SIZE];
    uint64_t want;
    unsigned i;

    mail_make_small(data);
    want = mail_sum(data, sizeof data);
    imap_ask(c, &a, "SELECT %s", mailbox);
    if (!a.ok || a.exists != count) {
        fault(r, "%u messages after %u APPENDs", a.exists, count);
        return;
    }
    fetch_sums(c, &a, &s, count);
    for (i = 0; i < count; i++)
        if (!a.ok || i >= s.count || s.sum[i] != want)
            fault(r, "appended message %u differs", i + 1);
    free(s.sum);
}

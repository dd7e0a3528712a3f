/*
 * Judging messages by a search program (RFC 3501 6.4.4), the cheapest knowledge first.
 *
 * A key that needs more than is known of a message yet is neither true nor false but open, and
 * AND, OR and NOT reckon with that. So each message is judged by the index alone; only if that
 * leaves it open, by the cached header fields; then by the whole header; then by one pass
 * through its text for all strings together.
 *
 * Two passes over the messages: the first one reads the index only, and leaves a set of open
 * ones; the second one reads these with their cache. What a program can't gain from is left
 * out.
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/sys.h"
#include "format/header.h"
#include "format/imapdate.h"
#include "imap/fetch.h"
#include "imap/search.h"

#define SCRATCH_MAX  (64u << 20)
#define NOTICE_EVERY 10000 /* ms between signs of life */

enum verdict { VERDICT_NO, VERDICT_YES, VERDICT_OPEN };

struct judge {
    struct imap *im;
    const struct search_program *p;
    const struct view_message *vm;
    enum search_level level; /* what is known of the message */
    int64_t now;
    const char *frequent; /* from LEVEL_FREQUENT on */
    size_t frequent_len;
    const struct buf *header; /* from LEVEL_HEADER on */
    uint64_t found;           /* at LEVEL_TEXT */
    struct buf scratch;
    int64_t noticed; /* sys_monotonic_ms() */
    uint64_t done, total;
};

static bool
judge_index(const struct judge *j, const struct search_key *k)
{
    const struct index_message *m = &j->vm->m;

    switch (k->op) {
    case SEARCH_ALL:
        return true;
    case SEARCH_FLAG:
        return (m->flags & k->flags) != 0 || (m->keywords & k->keywords) != 0;
    case SEARCH_RECENT:
        return j->vm->recent;
    case SEARCH_UIDS:
        return seqset_has(k->uids, m->uid);
    case SEARCH_BEFORE:
        return imapdate_local_day(m->internal_date) < k->day;
    case SEARCH_ON:
        return imapdate_local_day(m->internal_date) == k->day;
    case SEARCH_SINCE:
        return imapdate_local_day(m->internal_date) >= k->day;
    case SEARCH_LARGER:
        return m->crlf_size > k->number;
    case SEARCH_SMALLER:
        return m->crlf_size < k->number;
    case SEARCH_OLDER:
        return m->internal_date <= j->now - (int64_t)k->number;
    default: /* SEARCH_YOUNGER */
        return m->internal_date >= j->now - (int64_t)k->number;
    }
}

/* The Date field's day as written; a message without a readable one was never sent. */
static bool
judge_sent(const struct judge *j, const struct search_key *k)
{
    struct header_field f;
    int64_t t;
    int32_t day;

    if (!header_find(j->frequent, j->frequent_len, "Date", 0, &f) ||
        maildate_parse(f.value, f.value_len, &t, &day) != 0)
        return false;
    if (k->op == SEARCH_SENTBEFORE)
        return day < k->day;
    return k->op == SEARCH_SENTON ? day == k->day : day >= k->day;
}

static bool
judge_header(const struct judge *j, const struct search_key *k)
{
    const char *block = k->level == LEVEL_FREQUENT ? j->frequent : j->header->data;
    size_t len = k->level == LEVEL_FREQUENT ? j->frequent_len : j->header->len, pos = 0;
    struct header_field f;

    while (header_next(block, len, &pos, &f))
        if (header_name_is(&f, k->header) &&
            (k->needle == NULL || needle_in_header(k->needle, f.value, f.value_len)))
            return true;
    return false;
}

static enum verdict
judge_leaf(const struct judge *j, const struct search_key *k)
{
    if (k->level > j->level)
        return VERDICT_OPEN;
    if (k->op == SEARCH_TEXT)
        return j->found >> k->bit & 1 ? VERDICT_YES : VERDICT_NO;
    if (k->op == SEARCH_HEADER)
        return judge_header(j, k) ? VERDICT_YES : VERDICT_NO;
    if (k->op >= SEARCH_SENTBEFORE)
        return judge_sent(j, k) ? VERDICT_YES : VERDICT_NO;
    return judge_index(j, k) ? VERDICT_YES : VERDICT_NO;
}

/* The recursion is as deep as search_parse.c lets the tree be. */
static enum verdict
judge(const struct judge *j, const struct search_key *k)
{
    enum verdict decides = k->op == SEARCH_AND ? VERDICT_NO : VERDICT_YES, result, v;
    const struct search_key *child;

    if (k->op > SEARCH_OR) {
        result = judge_leaf(j, k);
    } else {
        result = decides == VERDICT_NO ? VERDICT_YES : VERDICT_NO;
        for (child = k->children; child != NULL; child = child->next) {
            v = judge(j, child);
            if (v == VERDICT_OPEN)
                result = VERDICT_OPEN;
            if (v == decides) {
                result = v;
                break;
            }
        }
    }
    if (k->negate && result != VERDICT_OPEN)
        result = result == VERDICT_YES ? VERDICT_NO : VERDICT_YES;
    return result;
}

/* Gets what a level is about. */
static int
reach(struct judge *j, enum search_level level)
{
    struct fetch_memo *memo;
    int err;

    switch (level) {
    case LEVEL_FREQUENT:
        return fetch_frequent(j->im, j->vm, &j->scratch, &j->frequent, &j->frequent_len);
    case LEVEL_HEADER:
        err = fetch_open_header(j->im, j->vm, &memo);
        if (err == 0)
            j->header = &memo->header;
        return err;
    case LEVEL_TEXT:
        err = fetch_open(j->im, j->vm, &memo);
        if (err != 0)
            return err;
        return mimetext_search(message_source(memo->msg, 0, message_size(memo->msg)),
                               &j->im->mime, j->p->needles, j->p->where, j->p->needles_count,
                               &j->found);
    default:
        return 0;
    }
}

/* From LEVEL_INDEX upwards until it's decided. A message that can't be read doesn't match. */
static bool
judge_fully(struct judge *j)
{
    enum verdict v = VERDICT_OPEN;
    unsigned level;

    for (level = LEVEL_INDEX; level <= LEVEL_TEXT; level++) {
        if (level != LEVEL_INDEX && !(j->p->levels >> level & 1))
            continue;
        if (reach(j, (enum search_level)level) != 0)
            return false;
        j->level = (enum search_level)level;
        v = judge(j, &j->p->root);
        if (v != VERDICT_OPEN)
            break;
    }
    return v == VERDICT_YES;
}

/* A search of minutes: is anybody there still, does the server go on? An untagged OK from time
   to time also keeps clients and routers from giving up. */
static int
look_around(struct judge *j)
{
    int64_t now;

    if (j->im->s->stopping != NULL && *j->im->s->stopping)
        return ERR_TEMP;
    now = sys_monotonic_ms();
    if (now - j->noticed < NOTICE_EVERY)
        return 0;
    j->noticed = now;
    stream_printf(j->im->out, "* OK Searched %llu of %llu messages\r\n",
                  (unsigned long long)j->done, (unsigned long long)j->total);
    stream_flush(j->im->out);
    return stream_error(j->im->out) != 0 ? ERR_EOF : 0;
}

/* Where the numbers of matches go; `open`: UIDs of those that aren't decided yet. */
struct results {
    struct seqset *uids, *seqs, *open;
};

static void
add_match(const struct results *r, uint32_t uid, uint32_t seq)
{
    seqset_add(r->uids, uid, uid);
    if (r->seqs != NULL)
        seqset_add(r->seqs, seq, seq);
}

static void
add_verdict(const struct results *r, enum verdict v, uint32_t uid, uint32_t seq)
{
    if (v == VERDICT_YES)
        add_match(r, uid, seq);
    else if (v == VERDICT_OPEN)
        seqset_add(r->open, uid, uid);
}

/* What the keys of LEVEL_INDEX look at. */
enum { NEEDS_KEYWORDS = 1, NEEDS_NUMBERS = 2, NEEDS_RECORD = 4 };

static unsigned
needs(const struct search_key *k)
{
    unsigned n = 0;

    if (k->op <= SEARCH_OR)
        for (k = k->children; k != NULL; k = k->next)
            n |= needs(k);
    else if (k->op == SEARCH_FLAG && k->keywords != 0)
        n = NEEDS_KEYWORDS;
    else if (k->op == SEARCH_UIDS || k->op == SEARCH_RECENT)
        n = NEEDS_NUMBERS;
    else if (k->op >= SEARCH_BEFORE && k->level == LEVEL_INDEX)
        n = NEEDS_RECORD;
    return n;
}

/* Of a message whose flags are all that is needed. */
static enum verdict
judge_flags(struct judge *j, struct view_message *vm, const struct view_flags *known, size_t i)
{
    vm->m.uid = known->uids[i];
    vm->m.flags = known->flags[i];
    vm->m.keywords = known->keywords != NULL ? known->keywords[i] : 0;
    vm->recent = view_is_recent(j->im->view, vm->m.uid);
    return judge(j, &j->p->root);
}

/* Without a look at the index, but for what changed since the last time. A program that knows
   nothing but system flags is a function of one octet: it's judged for each of their 64
   combinations, and each message costs a look into that table. */
static int
pass_by_flags(struct judge *j, unsigned needed, const struct seqset *candidates,
              const struct results *r)
{
    enum verdict by_flags[VIEW_FLAG_GONE];
    struct view_message vm = {.seq = 1};
    struct view_flags known;
    size_t at = 0;
    int err = view_flags(j->im->view, (needed & NEEDS_KEYWORDS) != 0, &known);

    if (err != 0)
        return err;
    j->vm = &vm;
    for (unsigned flags = 0; flags < VIEW_FLAG_GONE; flags++) {
        vm.m.flags = (uint8_t)flags;
        by_flags[flags] = judge(j, &j->p->root);
    }
    for (size_t i = 0; i < candidates->count; i++) {
        const struct seq_range *range = &candidates->ranges[i];

        while (at < known.count && known.uids[at] < range->first)
            at++;
        for (; at < known.count && known.uids[at] <= range->last; at++) {
            if ((known.flags[at] & VIEW_FLAG_GONE) != 0)
                continue;
            add_verdict(
                r, needed == 0 ? by_flags[known.flags[at]] : judge_flags(j, &vm, &known, at),
                known.uids[at], (uint32_t)at + 1);
        }
    }
    j->vm = NULL;
    return 0;
}

static unsigned
wanted(const struct judge *j)
{
    return (j->p->needs_size ? WANT_CRLF_SIZE : 0) | (j->p->needs_date ? WANT_DATE : 0);
}

static int
pass_by_records(struct judge *j, const struct seqset *candidates, const struct results *r)
{
    struct view_batch *b = j->im->batch;
    struct seqset_iter it = {0};
    int err;

    for (;;) {
        err = view_read(j->im->view, candidates, &it, wanted(j), b);
        if (err != 0 || b->count == 0)
            return err;
        for (size_t i = 0; i < b->count; i++) {
            j->vm = &b->items[i];
            if (j->vm->gone || j->vm->seq == 0)
                continue;
            add_verdict(r, judge(j, &j->p->root), j->vm->m.uid, j->vm->seq);
        }
        err = look_around(j);
        if (err != 0)
            return err;
    }
}

/* By the index alone. */
static int
first_pass(struct judge *j, const struct seqset *candidates, const struct results *r)
{
    unsigned needed = needs(&j->p->root);

    j->level = LEVEL_INDEX;
    if ((needed & NEEDS_RECORD) != 0)
        return pass_by_records(j, candidates, r);
    return pass_by_flags(j, needed, candidates, r);
}

static int
second_pass(struct judge *j, const struct seqset *open, const struct results *r)
{
    struct view_batch *b = j->im->batch;
    struct seqset_iter it = {0};
    unsigned want = wanted(j) | (j->p->levels >> LEVEL_FREQUENT & 1 ? WANT_CACHE : 0);
    int err;

    j->total = seqset_size(open);
    if (j->total > view_info(j->im->view)->exists)
        j->total = view_info(j->im->view)->exists;
    j->noticed = sys_monotonic_ms();
    for (;;) {
        err = view_read(j->im->view, open, &it, want, b);
        if (err != 0 || b->count == 0)
            return err;
        err = look_around(j);
        for (size_t i = 0; err == 0 && i < b->count; i++, j->done++) {
            j->vm = &b->items[i];
            if (j->vm->gone || j->vm->seq == 0)
                continue;
            if (judge_fully(j))
                add_match(r, j->vm->m.uid, j->vm->seq);
            if (j->level == LEVEL_TEXT)
                err = look_around(j); /* each of these may be long */
        }
        if (err != 0)
            return err;
    }
}

/* Both passes, and what they found put together in order. */
static int
both_passes(struct judge *j, const struct seqset *candidates, struct seqset *uids,
            struct seqset *seqs)
{
    struct seqset open, found[2], numbers[2];
    struct results first = {&found[0], seqs != NULL ? &numbers[0] : NULL, &open};
    struct results second = {&found[1], seqs != NULL ? &numbers[1] : NULL, NULL};
    int err;

    seqset_init(&open);
    for (int i = 0; i < 2; i++) {
        seqset_init(&found[i]);
        seqset_init(&numbers[i]);
    }
    err = first_pass(j, candidates, &first);
    if (err == 0)
        err = second_pass(j, &open, &second);
    if (err == 0) {
        seqset_unite(&found[0], &found[1], uids);
        if (seqs != NULL)
            seqset_unite(&numbers[0], &numbers[1], seqs);
    }
    seqset_free(&open);
    for (int i = 0; i < 2; i++) {
        seqset_free(&found[i]);
        seqset_free(&numbers[i]);
    }
    return err;
}

int
search_run(struct imap *im, const struct search_program *p, const struct seqset *candidates,
           struct seqset *uids, struct seqset *seqs)
{
    struct judge j = {.im = im, .p = p, .now = sys_now(), .scratch = BUF_INIT(SCRATCH_MAX)};
    const struct results r = {uids, seqs, NULL};
    const unsigned by_index = 1u << LEVEL_INDEX;
    int err;

    if (im->batch == NULL)
        im->batch = view_batch_new();
    j.noticed = sys_monotonic_ms();
    if ((p->levels & ~by_index) == 0)
        err = first_pass(&j, candidates, &r);
    else if ((p->levels & by_index) == 0)
        err = second_pass(&j, candidates, &r);
    else
        err = both_passes(&j, candidates, uids, seqs);
    buf_free(&j.scratch);
    view_cache_flush(im->view);
    return err;
}

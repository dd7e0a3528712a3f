/*
 * SEARCH and UID SEARCH (RFC 3501 6.4.4, 7.2.5) with RETURN (RFC 4731: ESEARCH) and SAVE
 * (RFC 5182: SEARCHRES).
 */
#include <string.h>

#include "base/err.h"
#include "imap/search.h"

#define ANSWER_MAX SIZE_MAX / 4 /* bounded by the number of messages */

enum result_option {
    RETURN_MIN = 1,
    RETURN_MAX = 2,
    RETURN_COUNT = 4,
    RETURN_ALL = 8,
    RETURN_SAVE = 16
};

struct request {
    bool extended;    /* RETURN was given: ESEARCH answers */
    unsigned options; /* enum result_option */
    const char *charset;
    const struct token *keys;
};

static const struct {
    const char *name;
    unsigned option;
} option_names[] = {{"MIN", RETURN_MIN},
                    {"MAX", RETURN_MAX},
                    {"COUNT", RETURN_COUNT},
                    {"ALL", RETURN_ALL},
                    {"SAVE", RETURN_SAVE}};
#define OPTION_COUNT (sizeof option_names / sizeof option_names[0])

static int
read_options(struct imap *im, const struct token *list, struct request *rq)
{
    const struct token *t;
    size_t i;

    if (list == NULL || list->type != TOKEN_LIST)
        return ERR_SYNTAX;
    rq->extended = true;
    for (t = list->list; t != NULL; t = t->next) {
        for (i = 0; i < OPTION_COUNT; i++)
            if (token_is_atom(t, option_names[i].name))
                break;
        if (i == OPTION_COUNT ||
            (option_names[i].option == RETURN_SAVE && imap_hidden(im, "SEARCHRES")))
            return ERR_SYNTAX;
        rq->options |= option_names[i].option;
    }
    if (rq->options == 0)
        rq->options = RETURN_ALL; /* RFC 4731 3.1: "RETURN ()" */
    return 0;
}

static int
read_request(struct imap *im, struct request *rq)
{
    const struct token *t = im->parse.args;
    int err;

    memset(rq, 0, sizeof *rq);
    if (t != NULL && token_is_atom(t, "RETURN") && !imap_hidden(im, "ESEARCH")) {
        err = read_options(im, t->next, rq);
        if (err != 0)
            return err;
        t = t->next->next;
    }
    if (t != NULL && token_is_atom(t, "CHARSET")) {
        t = t->next;
        if (!token_is_astring(t))
            return ERR_SYNTAX;
        rq->charset = t->text;
        t = t->next;
    }
    rq->keys = t;
    return t == NULL ? ERR_SYNTAX : 0;
}

/* Sets that must hold anyway narrow the search down to their messages; they needn't be looked
   at again then. */
static void
find_candidates(struct search_program *p, struct seqset *out)
{
    struct seqset narrower;
    struct search_key *k;

    seqset_add(out, 1, UINT32_MAX);
    for (k = p->root.children; k != NULL; k = k->next) {
        if (k->op != SEARCH_UIDS || k->negate)
            continue;
        seqset_init(&narrower);
        seqset_intersect(out, k->uids, &narrower);
        seqset_free(out);
        *out = narrower;
        k->op = SEARCH_ALL;
    }
}

static void
write_search(const struct seqset *numbers, struct buf *out)
{
    struct seqset_iter it = {0};
    uint32_t n;

    buf_adds(out, "* SEARCH");
    while (seqset_next(numbers, &it, &n)) {
        buf_addc(out, ' ');
        buf_addu(out, n);
    }
    buf_adds(out, "\r\n");
}

/* RFC 4731 3.1; without matches only COUNT is told. */
static void
write_esearch(struct imap *im, const struct request *rq, const struct seqset *numbers,
              struct buf *out)
{
    uint32_t min = 0, max = 0;

    if (numbers->count > 0) {
        min = numbers->ranges[0].first;
        max = numbers->ranges[numbers->count - 1].last;
    }
    buf_addf(out, "* ESEARCH (TAG \"%s\")%s", im->parse.tag, im->parse.uid ? " UID" : "");
    if ((rq->options & RETURN_MIN) && min > 0)
        buf_addf(out, " MIN %lu", (unsigned long)min);
    if ((rq->options & RETURN_MAX) && max > 0)
        buf_addf(out, " MAX %lu", (unsigned long)max);
    if (rq->options & RETURN_COUNT)
        buf_addf(out, " COUNT %llu", (unsigned long long)seqset_size(numbers));
    if ((rq->options & RETURN_ALL) && min > 0) {
        buf_adds(out, " ALL ");
        seqset_write(numbers, out);
    }
    buf_adds(out, "\r\n");
}

/* RFC 5182 2.1 and 2.4: with MIN or MAX and neither ALL nor COUNT, only these are saved. */
static void
save(struct imap *im, const struct request *rq, const struct seqset *uids)
{
    uint32_t first, last;

    seqset_clear(&im->saved);
    if (uids->count == 0)
        return;
    if ((rq->options & (RETURN_ALL | RETURN_COUNT)) ||
        !(rq->options & (RETURN_MIN | RETURN_MAX))) {
        for (size_t i = 0; i < uids->count; i++)
            seqset_add(&im->saved, uids->ranges[i].first, uids->ranges[i].last);
        return;
    }
    first = uids->ranges[0].first;
    last = uids->ranges[uids->count - 1].last;
    if (rq->options & RETURN_MIN)
        seqset_add(&im->saved, first, first);
    if (rq->options & RETURN_MAX)
        seqset_add(&im->saved, last, last);
}

static void
answer(struct imap *im, const struct request *rq, const struct seqset *numbers)
{
    struct buf out = BUF_INIT(ANSWER_MAX);

    if (!rq->extended)
        write_search(numbers, &out);
    else if (rq->options != RETURN_SAVE)
        write_esearch(im, rq, numbers, &out);
    if (out.len > 0)
        stream_write(im->out, out.data, out.len);
    buf_free(&out);
}

static int
run(struct imap *im, const struct request *rq, struct search_program *p)
{
    struct seqset candidates, uids, seqs;
    int err;

    seqset_init(&candidates);
    seqset_init(&uids);
    seqset_init(&seqs);
    find_candidates(p, &candidates);
    err = search_run(im, p, &candidates, &uids, im->parse.uid ? NULL : &seqs);
    if (err == 0) {
        answer(im, rq, im->parse.uid ? &uids : &seqs);
        if (rq->options & RETURN_SAVE)
            save(im, rq, &uids);
    } else if (rq->options & RETURN_SAVE) {
        seqset_clear(&im->saved); /* RFC 5182 2.1: a NO empties it */
    }
    seqset_free(&candidates);
    seqset_free(&uids);
    seqset_free(&seqs);
    return err;
}

static struct reply
reply_of_parse(int err, const struct search_program *p)
{
    if (err == ERR_UNSUPPORTED)
        return reply_no("[BADCHARSET (US-ASCII UTF-8)] The search string can't be read in that "
                        "charset");
    if (err == ERR_LIMIT || p->error != NULL)
        return reply_bad(p->error != NULL ? p->error : "Too many ranges");
    return reply_err(err);
}

struct reply
cmd_search(struct imap *im)
{
    struct request rq;
    struct search_program program;
    struct reply r;
    int err;

    if (read_request(im, &rq) != 0)
        return reply_bad("Error in the search arguments");
    err = search_parse(im, rq.keys, rq.charset, &program);
    /* an unknown charset is refused even if it's not used (RFC 3501 6.4.4) */
    if (err == 0 && rq.charset != NULL) {
        struct buf none = BUF_INIT(16);

        err = charset_to_utf8(rq.charset, "", 0, &none);
        buf_free(&none);
    }
    if (err != 0) {
        r = reply_of_parse(err, &program);
        if (err == ERR_UNSUPPORTED && (rq.options & RETURN_SAVE))
            seqset_clear(&im->saved);
    } else {
        err = run(im, &rq, &program);
        r = err == 0 ? reply_ok("Searched") : reply_err(err);
    }
    search_program_free(&program);
    return r;
}

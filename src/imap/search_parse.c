/*
 * SEARCH keys (RFC 3501 6.4.4, RFC 5032, RFC 5182) into a tree of the command's arena.
 *
 * Strings are turned into UTF-8 and folded once, here. NOT is a mark on the key it stands
 * before. The depth of the tree is bounded, because it is walked by recursion.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/conf.h"
#include "base/err.h"
#include "format/imapdate.h"
#include "imap/fetch.h"
#include "imap/search.h"

#define DEPTH_MAX  128
#define STRING_MAX (1u << 24) /* octets of a search string in UTF-8 */

struct parser {
    struct imap *im;
    const char *charset;
    struct search_program *out;
    const struct token *t; /* the next token */
    unsigned depth;
};

enum argument { ARG_NONE, ARG_NUMBER, ARG_DATE, ARG_STRING, ARG_HEADER, ARG_KEYWORD, ARG_UIDS };

static const struct word {
    const char *name;
    enum search_op op;
    enum argument argument;
    bool negate;
    unsigned flags;
    const char *text; /* ARG_STRING: the header's name, or NULL = BODY and TEXT */
} words[] = {
    {"ALL", SEARCH_ALL, ARG_NONE, false, 0, NULL},
    {"ANSWERED", SEARCH_FLAG, ARG_NONE, false, MSG_ANSWERED, NULL},
    {"BCC", SEARCH_HEADER, ARG_STRING, false, 0, "Bcc"},
    {"BEFORE", SEARCH_BEFORE, ARG_DATE, false, 0, NULL},
    {"BODY", SEARCH_TEXT, ARG_STRING, false, IN_BODY, NULL},
    {"CC", SEARCH_HEADER, ARG_STRING, false, 0, "Cc"},
    {"DELETED", SEARCH_FLAG, ARG_NONE, false, MSG_DELETED, NULL},
    {"DRAFT", SEARCH_FLAG, ARG_NONE, false, MSG_DRAFT, NULL},
    {"FLAGGED", SEARCH_FLAG, ARG_NONE, false, MSG_FLAGGED, NULL},
    {"FROM", SEARCH_HEADER, ARG_STRING, false, 0, "From"},
    {"HEADER", SEARCH_HEADER, ARG_HEADER, false, 0, NULL},
    {"KEYWORD", SEARCH_FLAG, ARG_KEYWORD, false, 0, NULL},
    {"LARGER", SEARCH_LARGER, ARG_NUMBER, false, 0, NULL},
    {"OLD", SEARCH_RECENT, ARG_NONE, true, 0, NULL},
    {"OLDER", SEARCH_OLDER, ARG_NUMBER, false, 0, NULL},
    {"ON", SEARCH_ON, ARG_DATE, false, 0, NULL},
    {"RECENT", SEARCH_RECENT, ARG_NONE, false, 0, NULL},
    {"SEEN", SEARCH_FLAG, ARG_NONE, false, MSG_SEEN, NULL},
    {"SENTBEFORE", SEARCH_SENTBEFORE, ARG_DATE, false, 0, NULL},
    {"SENTON", SEARCH_SENTON, ARG_DATE, false, 0, NULL},
    {"SENTSINCE", SEARCH_SENTSINCE, ARG_DATE, false, 0, NULL},
    {"SINCE", SEARCH_SINCE, ARG_DATE, false, 0, NULL},
    {"SMALLER", SEARCH_SMALLER, ARG_NUMBER, false, 0, NULL},
    {"SUBJECT", SEARCH_HEADER, ARG_STRING, false, 0, "Subject"},
    {"TEXT", SEARCH_TEXT, ARG_STRING, false, IN_TEXT, NULL},
    {"TO", SEARCH_HEADER, ARG_STRING, false, 0, "To"},
    {"UID", SEARCH_UIDS, ARG_UIDS, false, 0, NULL},
    {"UNANSWERED", SEARCH_FLAG, ARG_NONE, true, MSG_ANSWERED, NULL},
    {"UNDELETED", SEARCH_FLAG, ARG_NONE, true, MSG_DELETED, NULL},
    {"UNDRAFT", SEARCH_FLAG, ARG_NONE, true, MSG_DRAFT, NULL},
    {"UNFLAGGED", SEARCH_FLAG, ARG_NONE, true, MSG_FLAGGED, NULL},
    {"UNKEYWORD", SEARCH_FLAG, ARG_KEYWORD, true, 0, NULL},
    {"UNSEEN", SEARCH_FLAG, ARG_NONE, true, MSG_SEEN, NULL},
    {"YOUNGER", SEARCH_YOUNGER, ARG_NUMBER, false, 0, NULL},
};

static int read_key(struct parser *ps, struct search_key **out);

static int
fail(struct parser *ps, int err, const char *text)
{
    if (ps->out->error == NULL)
        ps->out->error = text;
    return err;
}

static const struct token *
next_token(struct parser *ps)
{
    const struct token *t = ps->t;

    if (t != NULL)
        ps->t = t->next;
    return t;
}

static int
read_needle(struct parser *ps, struct search_key *k)
{
    const struct token *t = next_token(ps);
    struct buf utf8 = BUF_INIT(STRING_MAX);
    int err = 0;

    if (!token_is_astring(t))
        return fail(ps, ERR_SYNTAX, "A search string is missing");
    if (ps->charset != NULL)
        err = charset_to_utf8(ps->charset, t->text, t->len, &utf8);
    else
        buf_add(&utf8, t->text, t->len);
    if (err == 0 && (utf8.len > 0 || k->op == SEARCH_TEXT))
        err = needle_new(buf_str(&utf8), utf8.len, &k->needle);
    buf_free(&utf8);
    return err == 0 ? 0 : ERR_UNSUPPORTED;
}

static int
read_text(struct parser *ps, struct search_key *k, enum needle_where where)
{
    struct search_program *out = ps->out;
    int err;

    if (out->needles_count == SEARCH_NEEDLES_MAX)
        return fail(ps, ERR_LIMIT, "Too many BODY and TEXT keys");
    err = read_needle(ps, k);
    if (err != 0)
        return err;
    k->level = LEVEL_TEXT;
    k->bit = (unsigned)out->needles_count;
    out->needles[out->needles_count] = k->needle;
    out->where[out->needles_count++] = where;
    return 0;
}

static int
read_header(struct parser *ps, struct search_key *k, const char *name)
{
    const struct token *t;

    if (name == NULL) {
        t = next_token(ps);
        if (!token_is_astring(t) || t->len == 0)
            return fail(ps, ERR_SYNTAX, "A header field's name is missing");
        name = t->text;
    }
    k->header = name;
    k->level = fetch_is_frequent(name) ? LEVEL_FREQUENT : LEVEL_HEADER;
    return read_needle(ps, k);
}

static int
read_date(struct parser *ps, struct search_key *k)
{
    const struct token *t = next_token(ps);

    if (!token_is_astring(t) || imapdate_parse_date(t->text, t->len, &k->day) != 0)
        return fail(ps, ERR_SYNTAX, "A date such as 1-Feb-2024 is missing");
    if (k->op >= SEARCH_SENTBEFORE)
        k->level = LEVEL_FREQUENT;
    else
        ps->out->needs_date = true;
    return 0;
}

static int
read_number(struct parser *ps, struct search_key *k)
{
    if (!token_number(next_token(ps), INT64_MAX / 2, &k->number))
        return fail(ps, ERR_SYNTAX, "A number is missing");
    if (k->number == 0 && (k->op == SEARCH_OLDER || k->op == SEARCH_YOUNGER))
        return fail(ps, ERR_SYNTAX, "An interval of 0 seconds"); /* RFC 5032 3: nz-number */
    if (k->op == SEARCH_LARGER || k->op == SEARCH_SMALLER)
        ps->out->needs_size = true;
    else
        ps->out->needs_date = true; /* OLDER, YOUNGER */
    return 0;
}

/* A keyword that this mailbox doesn't have is no error: nothing has it. */
static int
read_keyword(struct parser *ps, struct search_key *k)
{
    const struct view_info *info = view_info(ps->im->view);
    const struct token *t = next_token(ps);

    if (t == NULL || t->type != TOKEN_ATOM || t->text[0] == '\\')
        return fail(ps, ERR_SYNTAX, "A keyword is missing");
    if (strcasecmp(t->text, "$Forwarded") == 0)
        k->flags = MSG_PASSED;
    for (size_t i = 0; i < info->keywords_count; i++)
        if (info->keywords[i] != NULL && strcasecmp(info->keywords[i], t->text) == 0)
            k->keywords |= UINT64_C(1) << i;
    return 0;
}

static int
read_set(struct parser *ps, struct search_key *k, bool uid)
{
    const struct token *t = next_token(ps);
    int err;

    k->op = SEARCH_UIDS;
    k->uids = mem_calloc(1, sizeof *k->uids);
    seqset_init(k->uids);
    err = imap_read_set(ps->im, t, uid, k->uids);
    if (err == ERR_SYNTAX)
        return fail(ps, err, "Unknown search key");
    return err;
}

static int
read_argument(struct parser *ps, struct search_key *k, const struct word *w)
{
    switch (w->argument) {
    case ARG_NUMBER:
        return read_number(ps, k);
    case ARG_DATE:
        return read_date(ps, k);
    case ARG_STRING:
        return w->op == SEARCH_TEXT ? read_text(ps, k, (enum needle_where)w->flags)
                                    : read_header(ps, k, w->text);
    case ARG_HEADER:
        return read_header(ps, k, NULL);
    case ARG_KEYWORD:
        return read_keyword(ps, k);
    case ARG_UIDS:
        return read_set(ps, k, true);
    default:
        k->flags = w->flags;
        return 0;
    }
}

/* Keys up to the end of the list, all of which must hold. */
static int
read_list(struct parser *ps, struct search_key *parent)
{
    struct search_key **tail = &parent->children;
    int err;

    if (ps->t == NULL)
        return fail(ps, ERR_SYNTAX, "A search key is missing");
    while (ps->t != NULL) {
        err = read_key(ps, tail);
        if (err != 0)
            return err;
        tail = &(*tail)->next;
    }
    return 0;
}

static int
read_parenthesized(struct parser *ps, struct search_key *k)
{
    const struct token *t = next_token(ps), *after = ps->t;
    int err;

    k->op = SEARCH_AND;
    ps->t = t->list;
    err = read_list(ps, k);
    ps->t = after;
    return err;
}

/* NEW is RECENT UNSEEN. */
static int
read_new(struct parser *ps, struct search_key *k)
{
    k->op = SEARCH_AND;
    k->children = arena_calloc(ps->im->arena, 2, sizeof *k->children);
    k->children[0].op = SEARCH_RECENT;
    k->children[0].next = &k->children[1];
    k->children[1].op = SEARCH_FLAG;
    k->children[1].flags = MSG_SEEN;
    k->children[1].negate = true;
    return 0;
}

static const struct word *
find_word(struct imap *im, const char *name)
{
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcasecmp(words[i].name, name) != 0)
            continue;
        if ((words[i].op == SEARCH_OLDER || words[i].op == SEARCH_YOUNGER) &&
            imap_hidden(im, "WITHIN"))
            return NULL;
        return &words[i];
    }
    return NULL;
}

static int
read_word(struct parser *ps, struct search_key *k)
{
    const struct word *w;
    int err;

    if (token_is_atom(ps->t, "OR")) {
        next_token(ps);
        k->op = SEARCH_OR;
        err = read_key(ps, &k->children);
        return err != 0 ? err : read_key(ps, &k->children->next);
    }
    if (token_is_atom(ps->t, "NEW")) {
        next_token(ps);
        return read_new(ps, k);
    }
    w = find_word(ps->im, ps->t->text);
    if (w == NULL)
        return read_set(ps, k, false);
    next_token(ps);
    k->op = w->op;
    err = read_argument(ps, k, w);
    k->negate = k->negate != w->negate;
    return err;
}

static int
read_key(struct parser *ps, struct search_key **out)
{
    struct search_key *k = *out = arena_calloc(ps->im->arena, 1, sizeof *k);
    int err;

    for (; token_is_atom(ps->t, "NOT"); ps->t = ps->t->next)
        k->negate = !k->negate;
    if (++ps->out->keys > ps->im->conf->max_search_keys || ++ps->depth > DEPTH_MAX)
        return fail(ps, ERR_LIMIT, "Too many search keys");
    if (ps->t == NULL)
        err = fail(ps, ERR_SYNTAX, "A search key is missing");
    else if (ps->t->type == TOKEN_LIST)
        err = read_parenthesized(ps, k);
    else if (ps->t->type == TOKEN_ATOM)
        err = read_word(ps, k);
    else
        err = fail(ps, ERR_SYNTAX, "Unknown search key");
    ps->depth--;
    if (k->op > SEARCH_ALL)
        ps->out->levels |= 1u << k->level;
    return err;
}

int
search_parse(struct imap *im, const struct token *t, const char *charset,
             struct search_program *out)
{
    struct parser ps = {.im = im, .charset = charset, .out = out, .t = t};

    memset(out, 0, sizeof *out);
    return read_list(&ps, &out->root);
}

static void
free_key(struct search_key *k)
{
    for (; k != NULL; k = k->next) {
        needle_free(&k->needle);
        if (k->uids != NULL)
            seqset_free(k->uids);
        free(k->uids);
        k->uids = NULL;
        free_key(k->children);
    }
}

void
search_program_free(struct search_program *p)
{
    free_key(p->root.children);
}

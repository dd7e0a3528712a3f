/*
 * Address lists, RFC 5322 3.4 and 4.4 (routes, comments as names, blanks around dots), read
 * leniently: mail in the wild has bare words, stray brackets, missing commas, semicolons as
 * separators, unquoted names with dots and commas gone wrong. Whatever comes, each address
 * written fits the grammar of an envelope (RFC 3501 9: address).
 *
 * Names stay as they are on the wire: encoded words are the client's to decode.
 */
#include <string.h>

#include "format/address.h"
#include "format/imapparse.h"
#include "format/mime_lex.h"

#define ITEM_MAX 65536 /* octets of a name, local part or domain; what's longer is cut off */

struct parser {
    struct lexer lx;
    struct buf *out;
    unsigned *left;
    bool in_group;
    struct buf phrase; /* words with single blanks where there were any: a display name */
    struct buf local;  /* the same words without blanks: a local part */
    struct buf route, domain, comment;
};

static bool
is_atom_char(char c)
{
    switch (c) {
    case '(':
    case ')':
    case '<':
    case '>':
    case '@':
    case ',':
    case ';':
    case ':':
    case '"':
    case '[':
    case ']':
    case '\\':
    case ' ':
    case '\t':
    case '\r':
    case '\n':
    case '\0':
        return false;
    default:
        return true;
    }
}

static bool
at_end(const struct parser *ps)
{
    return ps->lx.p >= ps->lx.end;
}

/* Dots count as atom characters here. */
static size_t
atom(struct parser *ps, const char **start)
{
    *start = ps->lx.p;
    while (!at_end(ps) && is_atom_char(*ps->lx.p))
        ps->lx.p++;
    return (size_t)(ps->lx.p - *start);
}

static void
write_item(const struct parser *ps, const struct buf *b, bool nil_if_empty)
{
    if (b->len == 0)
        buf_adds(ps->out, nil_if_empty ? "NIL" : "\"\"");
    else
        imap_write_string(ps->out, b->data, b->len);
}

/* The display name, or the comment that stands in for it (RFC 5322 3.4, last note of 4.4). */
static void
write_address(struct parser *ps, bool phrase_is_name)
{
    if (*ps->left == 0)
        return;
    --*ps->left;
    buf_addc(ps->out, '(');
    if (phrase_is_name && ps->phrase.len > 0)
        write_item(ps, &ps->phrase, true);
    else
        write_item(ps, &ps->comment, true);
    buf_addc(ps->out, ' ');
    write_item(ps, &ps->route, true);
    buf_addc(ps->out, ' ');
    write_item(ps, &ps->local, false);
    buf_addc(ps->out, ' ');
    write_item(ps, &ps->domain, false);
    buf_addc(ps->out, ')');
}

static void
group_begin(struct parser *ps)
{
    if (*ps->left == 0)
        return;
    --*ps->left;
    ps->in_group = true;
    buf_adds(ps->out, "(NIL NIL ");
    write_item(ps, &ps->phrase, false);
    buf_adds(ps->out, " NIL)");
}

static void
group_end(struct parser *ps)
{
    if (ps->in_group)
        buf_adds(ps->out, "(NIL NIL NIL NIL)");
    ps->in_group = false;
}

/* Words up to a character that decides what they were; returns it (not consumed), NUL at the
   end. */
static char
read_words(struct parser *ps, bool in_angle)
{
    const char *before, *word;
    size_t len, had;

    buf_reset(&ps->phrase);
    buf_reset(&ps->local);
    for (;;) {
        before = ps->lx.p;
        lex_skip(&ps->lx, &ps->comment);
        if (at_end(ps))
            return '\0';
        if (ps->lx.p > before && ps->phrase.len > 0)
            buf_addc(&ps->phrase, ' ');
        len = atom(ps, &word);
        if (len > 0) {
            buf_add(&ps->phrase, word, len);
            buf_add(&ps->local, word, len);
            continue;
        }
        switch (*ps->lx.p) {
        case '"':
            had = ps->local.len;
            lex_quoted(&ps->lx, &ps->local);
            buf_add(&ps->phrase, buf_str(&ps->local) + had, ps->local.len - had);
            break;
        case '@':
            return '@';
        case '>':
            if (in_angle)
                return '>';
            ps->lx.p++;
            break;
        case '<':
        case ':':
        case ',':
        case ';':
            if (!in_angle)
                return *ps->lx.p;
            ps->lx.p++;
            break;
        default: /* stray ) [ ] or backslash */
            ps->lx.p++;
        }
    }
}

/* "[" ... "]" with its brackets (RFC 5322 3.4.1), blanks and line ends left out. */
static void
read_domain_literal(struct parser *ps)
{
    for (; !at_end(ps); ps->lx.p++) {
        char c = *ps->lx.p;

        if (c == '>' || c == ',')
            break; /* never closed */
        if (c != ' ' && c != '\t' && c != '\r' && c != '\n' && c != '\0')
            buf_addc(&ps->domain, c);
        if (c == ']') {
            ps->lx.p++;
            break;
        }
    }
}

/* Atoms with dots; a blank ends it unless there is a dot beside it (obs-domain). */
static void
read_domain(struct parser *ps)
{
    const char *word, *before;
    size_t len;

    buf_reset(&ps->domain);
    lex_skip(&ps->lx, &ps->comment);
    if (!at_end(ps) && *ps->lx.p == '[') {
        read_domain_literal(ps);
        return;
    }
    for (;;) {
        len = atom(ps, &word);
        if (len == 0)
            return;
        buf_add(&ps->domain, word, len);
        before = ps->lx.p;
        lex_skip(&ps->lx, &ps->comment);
        if (at_end(ps) || (word[len - 1] != '.' && *ps->lx.p != '.')) {
            if (before != ps->lx.p && !at_end(ps) && ps->comment.len == 0)
                ps->lx.p = before;
            return;
        }
    }
}

/* "@a,@b:" before the mailbox (obs-route); without its colon it was no route. */
static void
read_route(struct parser *ps)
{
    const char *start = ps->lx.p, *word;
    size_t len;

    for (;;) {
        lex_skip(&ps->lx, &ps->comment);
        if (at_end(ps))
            break;
        if (*ps->lx.p == ':') {
            ps->lx.p++;
            return;
        }
        if (*ps->lx.p == '@' || *ps->lx.p == ',') {
            buf_addc(&ps->route, *ps->lx.p++);
            continue;
        }
        len = atom(ps, &word);
        if (len == 0)
            break;
        buf_add(&ps->route, word, len);
    }
    buf_reset(&ps->route);
    ps->lx.p = start;
}

/* At '<'. The phrase is the display name and must be kept, so it changes places with what
   read_words() fills. */
static void
read_angle(struct parser *ps)
{
    struct buf name = ps->phrase;

    buf_init(&ps->phrase, ITEM_MAX);
    ps->lx.p++;
    lex_skip(&ps->lx, &ps->comment);
    if (!at_end(ps) && (*ps->lx.p == '@' || *ps->lx.p == ','))
        read_route(ps);
    if (read_words(ps, true) == '@') {
        ps->lx.p++;
        read_domain(ps);
    }
    while (!at_end(ps) && *ps->lx.p != '>')
        ps->lx.p++;
    if (!at_end(ps))
        ps->lx.p++;
    buf_free(&ps->phrase);
    ps->phrase = name;
}

/* What follows an address up to the separator: comments count, the rest is garbage. */
static void
skip_rest(struct parser *ps)
{
    for (;;) {
        lex_skip(&ps->lx, &ps->comment);
        if (at_end(ps) || *ps->lx.p == ',' || *ps->lx.p == ';')
            return;
        ps->lx.p++;
    }
}

static void
trim(struct buf *b)
{
    while (b->len > 0 && b->data[b->len - 1] == ' ')
        b->len--;
}

static void
read_one(struct parser *ps)
{
    char c;

    buf_reset(&ps->route);
    buf_reset(&ps->domain);
    buf_reset(&ps->comment);
    c = read_words(ps, false);
    trim(&ps->phrase);
    switch (c) {
    case '<':
        read_angle(ps);
        skip_rest(ps);
        write_address(ps, true);
        break;
    case '@':
        ps->lx.p++;
        read_domain(ps);
        skip_rest(ps);
        write_address(ps, false);
        break;
    case ':':
        ps->lx.p++;
        if (!ps->in_group)
            group_begin(ps);
        break;
    default:
        if (ps->local.len > 0)
            write_address(ps, false);
    }
}

void
address_write_list(const char *value, size_t len, unsigned *left, struct buf *out)
{
    struct parser ps = {.lx = {value, value + len},
                        .out = out,
                        .left = left,
                        .phrase = BUF_INIT(ITEM_MAX),
                        .local = BUF_INIT(ITEM_MAX),
                        .route = BUF_INIT(ITEM_MAX),
                        .domain = BUF_INIT(ITEM_MAX),
                        .comment = BUF_INIT(ITEM_MAX)};

    for (;;) {
        lex_skip(&ps.lx, NULL);
        if (at_end(&ps) || *left == 0)
            break;
        if (*ps.lx.p == ',') {
            ps.lx.p++;
        } else if (*ps.lx.p == ';') {
            ps.lx.p++;
            group_end(&ps);
        } else {
            read_one(&ps);
        }
    }
    group_end(&ps);
    buf_free(&ps.phrase);
    buf_free(&ps.local);
    buf_free(&ps.route);
    buf_free(&ps.domain);
    buf_free(&ps.comment);
}

/*
 * The parser of IMAP commands; see imapparse.h. RFC 3501 9, RFC 7888 (literals), RFC 3516
 * (literal8), RFC 9051 9.
 *
 * It makes a tree of tokens and knows no command, but for three things that the grammar forces
 * on it: the UID prefix, APPEND's message literal, and sections, which are part of an atom only
 * where message data are asked for (a mailbox may be called "a[b").
 *
 * Each line is copied once into the arena and the tokens point into the copy: strings are
 * unescaped in place and every token's end is overwritten with a NUL once the octet there was
 * looked at. So the work is linear in the input, and there's no recursion: the open lists are
 * on a stack of fixed size.
 */
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "format/imapparse.h"

#define TOKEN_COST 8 /* what a token counts besides its octets */

enum parse_state {
    STATE_START,   /* no line yet */
    STATE_NEXT,    /* between tokens: after a blank or an opening parenthesis */
    STATE_TOKEN,   /* behind a token: a blank or a closing parenthesis must follow */
    STATE_LITERAL, /* a literal was announced */
    STATE_BAD_NUL  /* a literal had a NUL */
};

/* The line being parsed. */
struct cursor {
    char *s; /* s[n] is NUL */
    size_t i, n;
    char *end; /* end of an atom, where a NUL is still to be written */
};

void
imapparse_begin(struct imapparse *p, struct arena *arena, const struct imapparse_limits *limits)
{
    memset(p, 0, sizeof *p);
    p->arena = arena;
    p->limits = *limits;
    if (p->limits.max_depth > IMAPPARSE_DEPTH)
        p->limits.max_depth = IMAPPARSE_DEPTH;
    p->tail[0] = &p->args;
    p->state = STATE_START;
}

static int
fail(struct imapparse *p, int err, const char *text)
{
    p->error = text;
    return err;
}

/* Octets of a tag and a command's name: ASTRING-CHAR except '+' (RFC 3501 9: tag). */
static bool
is_tag_char(char c)
{
    return c > ' ' && c < 0x7f && strchr("(){%*\"\\+", c) == NULL;
}

/* Octets that may stand in an atom here: more than ATOM-CHAR, because flags (\Seen), sets (1:*)
   and LIST patterns are atoms to this parser. */
static bool
is_atom_char(char c)
{
    return c > ' ' && c < 0x7f && c != '(' && c != ')' && c != '{' && c != '"';
}

/* Puts a token behind the others of the open list. */
static struct token *
add_token(struct imapparse *p, enum token_type type, const char *text, size_t len)
{
    struct token *t = arena_calloc(p->arena, 1, sizeof *t);

    t->type = type;
    t->text = text;
    t->len = len;
    *p->tail[p->depth] = t;
    p->tail[p->depth] = &t->next;
    p->used += TOKEN_COST;
    return t;
}

static void
open_token(struct imapparse *p, struct token *t)
{
    p->depth++;
    p->open[p->depth] = t;
    p->tail[p->depth] = &t->list;
}

static bool
in_section(const struct imapparse *p)
{
    return p->depth > 0 && p->open[p->depth]->type == TOKEN_SECTION;
}

/* In which commands is '[' the beginning of a section? */
static bool
has_sections(const struct imapparse *p)
{
    return strcmp(p->name, "FETCH") == 0 || strcmp(p->name, "NOTIFY") == 0;
}

static int
open_list(struct imapparse *p)
{
    if (p->lists >= p->limits.max_depth)
        return fail(p, ERR_LIMIT, "Parentheses are nested too deeply");
    open_token(p, add_token(p, TOKEN_LIST, "", 0));
    p->lists++;
    p->state = STATE_NEXT;
    return 0;
}

static int
close_list(struct imapparse *p)
{
    if (p->depth == 0)
        return fail(p, ERR_SYNTAX, "Closing parenthesis without an opening one");
    if (in_section(p))
        return fail(p, ERR_SYNTAX, "Closing bracket of a section is missing");
    p->depth--;
    p->lists--;
    p->state = STATE_TOKEN;
    return 0;
}

/* "]" and what may follow it, "<0.100>" (RFC 3501 6.4.5). */
static int
close_section(struct imapparse *p, struct cursor *c)
{
    struct token *t = p->open[p->depth];
    size_t start;

    p->depth--;
    p->state = STATE_TOKEN;
    c->i++;
    if (c->s[c->i] != '<')
        return 0;
    start = ++c->i;
    while ((c->s[c->i] >= '0' && c->s[c->i] <= '9') || c->s[c->i] == '.')
        c->i++;
    if (c->s[c->i] != '>' || c->i == start)
        return fail(p, ERR_SYNTAX, "Partial range must look like <0.1024>");
    c->s[c->i++] = '\0';
    t->partial = c->s + start;
    return 0;
}

static int
read_quoted(struct imapparse *p, struct cursor *c)
{
    size_t start = c->i + 1, from, to = start;

    for (from = start; from < c->n && c->s[from] != '"'; from++) {
        if (c->s[from] == '\\') {
            from++;
            if (c->s[from] != '"' && c->s[from] != '\\')
                return fail(p, ERR_SYNTAX,
                            "Backslash in a quoted string must be followed by \" or \\");
        }
        c->s[to++] = c->s[from];
    }
    if (from == c->n)
        return fail(p, ERR_SYNTAX, "Closing quote is missing");
    c->s[to] = '\0';
    c->i = from + 1;
    add_token(p, TOKEN_STRING, c->s + start, to - start);
    p->state = STATE_TOKEN;
    return 0;
}

/*
 * Reads "{12}", "{12+}", "~{12}" at s[i], which must be the end of the line. True if it is one.
 */
static bool
read_announcement(struct imapparse *p, const char *s, size_t i, size_t n)
{
    bool literal8 = s[i] == '~', sync = true;
    uint64_t size = 0;
    size_t start;

    if (literal8)
        i++;
    if (i >= n || s[i] != '{')
        return false;
    for (start = ++i; i < n && s[i] >= '0' && s[i] <= '9'; i++) {
        if (size > UINT64_MAX / 20)
            return false;
        size = size * 10 + (uint64_t)(s[i] - '0');
    }
    if (i == start)
        return false;
    if (i < n && s[i] == '+') {
        sync = false;
        i++;
    }
    if (i + 1 != n || s[i] != '}')
        return false;
    p->literal_size = size;
    p->literal_sync = sync;
    p->literal8 = literal8;
    return true;
}

static int
read_literal(struct imapparse *p, struct cursor *c)
{
    if (!read_announcement(p, c->s, c->i, c->n))
        return fail(p, ERR_SYNTAX,
                    "Literal must look like {12} and be the last thing on its line");
    p->state = STATE_LITERAL;
    if (imapparse_at_append_message(p))
        return PARSE_LITERAL;
    if (p->used > p->limits.max_arguments ||
        p->literal_size > p->limits.max_arguments - p->used)
        return fail(p, ERR_LIMIT, "Literal is too large");
    return PARSE_LITERAL;
}

static const char *
bad_octet(char c)
{
    if (c == '"')
        return "Quote inside an atom: a blank is missing before it, or the string must be "
               "quoted";
    if (c == '{')
        return "Brace inside an atom: a blank is missing before it, or the string must be "
               "quoted";
    if ((unsigned char)c >= 0x80)
        return "8-bit octet outside of a quoted string or literal";
    return "Control character outside of a string";
}

static int
read_atom(struct imapparse *p, struct cursor *c)
{
    /* a section can't be in a section: depth counts both kinds */
    bool section = in_section(p), may_open = p->depth == p->lists && has_sections(p);
    size_t start = c->i, i;
    struct token *t;

    for (i = start; i < c->n && is_atom_char(c->s[i]); i++) {
        if ((section && c->s[i] == ']') || (may_open && c->s[i] == '['))
            break;
    }
    c->i = i;
    if (i < c->n && !is_atom_char(c->s[i]) && strchr(" ()", c->s[i]) == NULL)
        return fail(p, ERR_SYNTAX, bad_octet(c->s[i]));
    if (i < c->n && c->s[i] == '[' && may_open) {
        if (i == start)
            return fail(p, ERR_SYNTAX, "Bracket without a name before it");
        t = add_token(p, TOKEN_SECTION, c->s + start, i - start);
        c->s[c->i++] = '\0';
        open_token(p, t);
        p->state = STATE_NEXT;
        return 0;
    }
    add_token(p, TOKEN_ATOM, c->s + start, i - start);
    c->end = c->s + i;
    p->state = STATE_TOKEN;
    return 0;
}

/* One step: something other than a blank. */
static int
read_token(struct imapparse *p, struct cursor *c, char ch)
{
    if (ch == ')') {
        c->i++;
        return close_list(p);
    }
    if (ch == ']' && in_section(p))
        return close_section(p, c);
    if (p->state == STATE_TOKEN)
        return fail(p, ERR_SYNTAX, "A blank is missing between two arguments");
    if (ch == '(') {
        c->i++;
        return open_list(p);
    }
    if (ch == '"')
        return read_quoted(p, c);
    if (ch == '{' || (ch == '~' && c->s[c->i + 1] == '{'))
        return read_literal(p, c);
    return read_atom(p, c);
}

static int
read_args(struct imapparse *p, struct cursor *c)
{
    int result;
    char ch;

    while (c->i < c->n) {
        ch = c->s[c->i];
        if (c->end != NULL) {
            *c->end = '\0'; /* this is s[i]: it's known now */
            c->end = NULL;
        }
        if (ch == ' ') {
            c->i++;
            p->state = STATE_NEXT;
            continue;
        }
        result = read_token(p, c, ch);
        if (result != 0)
            return result;
        if (p->used > p->limits.max_arguments)
            return fail(p, ERR_LIMIT, "Command has too many arguments");
    }
    if (in_section(p))
        return fail(p, ERR_SYNTAX, "Closing bracket of a section is missing");
    if (p->depth > 0)
        return fail(p, ERR_SYNTAX, "Closing parenthesis is missing");
    return PARSE_DONE;
}

/* A word of the head, ended by a blank or the line's end; NULL if it isn't one. */
static char *
read_word(struct cursor *c)
{
    size_t start = c->i;

    while (c->i < c->n && is_tag_char(c->s[c->i]))
        c->i++;
    if (c->i == start || (c->i < c->n && c->s[c->i] != ' '))
        return NULL;
    if (c->i < c->n)
        c->s[c->i++] = '\0';
    while (c->i < c->n && c->s[c->i] == ' ')
        c->i++;
    return c->s + start;
}

/* A command's name: letters, in upper case afterwards; "X" commands may have more in them. */
static char *
read_name(struct cursor *c)
{
    char *word = read_word(c), *p;

    for (p = word; p != NULL && *p != '\0'; p++) {
        if (*p >= 'a' && *p <= 'z')
            *p = (char)(*p - 'a' + 'A');
    }
    return word;
}

/* Tag, command and the UID prefix. */
static int
read_head(struct imapparse *p, struct cursor *c)
{
    if (c->n == 0)
        return fail(p, ERR_SYNTAX, "Empty line: a tag and a command are missing");
    p->tag = read_word(c);
    if (p->tag == NULL)
        return fail(p, ERR_SYNTAX, "Line doesn't begin with a tag and a blank");
    if (c->i == c->n)
        return fail(p, ERR_SYNTAX, "Command is missing behind the tag");
    p->name = read_name(c);
    if (p->name == NULL)
        return fail(p, ERR_SYNTAX, "Command isn't a word");
    if (strcmp(p->name, "UID") != 0)
        return 0;
    p->uid = true;
    p->name = c->i < c->n ? read_name(c) : NULL;
    if (p->name == NULL)
        return fail(p, ERR_SYNTAX, "UID must be followed by a command");
    return 0;
}

static int
parse(struct imapparse *p, struct cursor *c)
{
    int err;

    if (p->state == STATE_START) {
        err = read_head(p, c); /* first of all, so that the tag is known */
        if (err < 0)
            return err;
        p->state = STATE_NEXT;
    }
    if (memchr(c->s + c->i, '\0', c->n - c->i) != NULL)
        return fail(p, ERR_SYNTAX, "NUL in a command");
    if (memchr(c->s, '\r', c->n) != NULL || memchr(c->s, '\n', c->n) != NULL)
        return fail(p, ERR_SYNTAX, "CR or LF inside a command line");
    if (p->state == STATE_BAD_NUL)
        return fail(p, ERR_SYNTAX, "NUL in a literal (only a literal8 may have that)");
    return read_args(p, c);
}

/* On an error: is a literal announced at the end of the line? */
static void
find_announcement(struct imapparse *p, const char *s, size_t n)
{
    size_t i = n;

    p->literal_size = 0;
    p->literal_sync = true;
    if (n == 0 || s[n - 1] != '}')
        return;
    /* "{", 20 digits, "+}" at most */
    while (i > 0 && n - i < 24 && s[i - 1] != '{')
        i--;
    if (i > 0 && s[i - 1] == '{')
        read_announcement(p, s, i - 1, n);
}

int
imapparse_line(struct imapparse *p, const char *line, size_t len)
{
    struct cursor c = {.n = len};
    int result;

    p->literal_size = 0;
    if (len > p->limits.max_arguments || p->used > p->limits.max_arguments - len) {
        find_announcement(p, line, len);
        return fail(p, ERR_LIMIT, "Command is too long");
    }
    p->used += len;
    c.s = arena_memdup(p->arena, line, len);
    result = parse(p, &c);
    if (result < 0)
        find_announcement(p, line, len);
    return result;
}

void
imapparse_literal(struct imapparse *p, const char *data, size_t len)
{
    struct token *t = add_token(p, TOKEN_STRING, data, len);

    t->literal = true;
    p->used += len;
    p->state = STATE_TOKEN;
    if (!p->literal8 && len > 0 && memchr(data, '\0', len) != NULL)
        p->state = STATE_BAD_NUL;
}

bool
imapparse_at_append_message(const struct imapparse *p)
{
    return p->state == STATE_LITERAL && p->depth == 0 && p->args != NULL && !p->uid &&
           strcmp(p->name, "APPEND") == 0;
}

void
imapparse_literal_taken(struct imapparse *p)
{
    add_token(p, TOKEN_STRING, "", 0)->literal = true;
    p->state = STATE_TOKEN;
}

bool
token_is_atom(const struct token *t, const char *word)
{
    return t != NULL && t->type == TOKEN_ATOM && strcasecmp(t->text, word) == 0;
}

bool
token_is_astring(const struct token *t)
{
    return t != NULL && (t->type == TOKEN_ATOM || t->type == TOKEN_STRING);
}

bool
token_number(const struct token *t, uint64_t max, uint64_t *n)
{
    uint64_t value = 0, digit;
    size_t i;

    if (t == NULL || t->type != TOKEN_ATOM || t->len == 0)
        return false;
    for (i = 0; i < t->len; i++) {
        if (t->text[i] < '0' || t->text[i] > '9')
            return false;
        digit = (uint64_t)(t->text[i] - '0');
        if (digit > max || value > (max - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *n = value;
    return true;
}

size_t
token_count(const struct token *list)
{
    size_t n = 0;

    for (; list != NULL; list = list->next)
        n++;
    return n;
}

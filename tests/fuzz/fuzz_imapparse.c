/*
 * The IMAP command parser with lines and literals as a client sends them. Checks that the tree
 * is sound: every text ends in NUL, the sizes stay within the limit.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "format/imapparse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_tree(const struct token *t, unsigned depth)
{
    if (depth > IMAPPARSE_DEPTH + 2)
        abort();
    for (; t != NULL; t = t->next) {
        if (t->text == NULL || t->text[t->len] != '\0')
            abort();
        if (t->partial != NULL && strlen(t->partial) == 0)
            abort();
        check_tree(t->list, depth + 1);
    }
}

/* One command; returns how many octets it took. */
static size_t
command(struct imapparse *p, const char *s, size_t n)
{
    const char *lf;
    size_t at = 0, len;
    int result;

    for (;;) {
        lf = memchr(s + at, '\n', n - at);
        len = lf != NULL ? (size_t)(lf - s) - at : n - at;
        if (len > 0 && lf != NULL && s[at + len - 1] == '\r')
            result = imapparse_line(p, s + at, len - 1);
        else
            result = imapparse_line(p, s + at, len);
        at += len + (lf != NULL);
        check_tree(p->args, 0);
        if (result < 0 && p->error == NULL)
            abort();
        if (result != PARSE_LITERAL)
            return at;
        len = p->literal_size < n - at ? (size_t)p->literal_size : n - at;
        if (imapparse_at_append_message(p))
            imapparse_literal_taken(p);
        else
            imapparse_literal(p, arena_memdup(p->arena, s + at, len), len);
        at += len;
        if (at >= n)
            return n;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct imapparse_limits limits = {8192, 16};
    struct arena *arena = arena_new();
    struct imapparse p;
    size_t at = 0;

    while (at < size) {
        imapparse_begin(&p, arena, &limits);
        at += command(&p, (const char *)data + at, size - at);
        arena_reset(arena);
    }
    arena_free(&arena);
    return 0;
}

/*
 * Lexical layer of structured header fields; see mime_lex.h.
 */
#include <string.h>

#include "format/mime_lex.h"

/* At a '(': behind its comment. */
static void
skip_comment(struct lexer *lx, struct buf *comment)
{
    size_t depth = 0;

    if (comment != NULL)
        buf_reset(comment);
    for (; lx->p < lx->end; lx->p++) {
        char c = *lx->p;

        if (c == '\\' && lx->end - lx->p > 1)
            c = *++lx->p;
        else if (c == '(' && depth++ == 0)
            continue;
        else if (c == ')' && --depth == 0) {
            lx->p++;
            return;
        }
        if (comment != NULL && c != '\r' && c != '\n' && c != '\0')
            buf_addc(comment, c);
    }
}

void
lex_skip(struct lexer *lx, struct buf *comment)
{
    for (; lx->p < lx->end; lx->p++) {
        switch (*lx->p) {
        case ' ':
        case '\t':
        case '\r':
        case '\n':
        case '\0':
            break;
        case '(':
            skip_comment(lx, comment);
            lx->p--;
            break;
        default:
            return;
        }
    }
}

void
lex_quoted(struct lexer *lx, struct buf *out)
{
    for (lx->p++; lx->p < lx->end && *lx->p != '"'; lx->p++) {
        if (*lx->p == '\\' && lx->end - lx->p > 1)
            lx->p++;
        if (*lx->p != '\r' && *lx->p != '\n' && *lx->p != '\0')
            buf_addc(out, *lx->p);
    }
    if (lx->p < lx->end)
        lx->p++;
}

/* NUL is among the specials: strchr() finds the end of its string. */
size_t
lex_token(struct lexer *lx, const char **start)
{
    *start = lx->p;
    while (lx->p < lx->end && (unsigned char)*lx->p > ' ' && *lx->p != 0x7f &&
           strchr("()<>@,;:\\\"/[]?=", *lx->p) == NULL)
        lx->p++;
    return (size_t)(lx->p - *start);
}

/*
 * The lexical layer that structured header fields share (RFC 5322 3.2, RFC 2045 5.1): blanks,
 * folds, comments, quoted strings, tokens. Never fails: what is unterminated ends with the
 * value.
 */
#ifndef FORMAT_MIME_LEX_H
#define FORMAT_MIME_LEX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

struct lexer {
    const char *p, *end;
};

/* Skips blanks, line ends, NULs and comments (nested to any depth). The text of the last
 * comment replaces what is in `comment`, unless NULL; quoted pairs in it are undone. */
void lex_skip(struct lexer *lx, struct buf *comment);
/* At a '"': appends the content, quoted pairs undone, line ends and NULs gone. */
void lex_quoted(struct lexer *lx, struct buf *out);
/* A MIME token (RFC 2045 5.1; 8-bit octets are taken too): its length, 0 if there's none.
 * *start points into the value. */
size_t lex_token(struct lexer *lx, const char **start);

#endif

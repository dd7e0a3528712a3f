/*
 * The token tree of one IMAP command (RFC 3501 9, RFC 7888, RFC 3516 literal8).
 *
 * The parser is fed with lines, and says when a literal follows; it knows nothing of sockets.
 * All memory is in the command's arena.
 *
 *   parse_begin -> feed line -> PARSE_LITERAL? read literal, give it with parse_literal(), feed
 * the next line ...
 *   -> PARSE_DONE: tag, name, args
 */
#ifndef FORMAT_IMAPPARSE_H
#define FORMAT_IMAPPARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

enum token_type {
    TOKEN_ATOM,   /* atom, number, flag (with backslash), sequence set, "*": text as it came */
    TOKEN_STRING, /* quoted (unescaped) or literal: bytes, may hold anything but NUL (literal8:
                     NUL too) */
    TOKEN_LIST,   /* ( ... ) */
    TOKEN_SECTION /* in FETCH and NOTIFY: an atom that has a [ ... ] section, e.g.
                     BODY.PEEK[HEADER.FIELDS (a b)]<0.10>: text = before '[', list = what is in
                     the brackets, partial = after ']'. Elsewhere '[' is part of an atom. */
};

struct token {
    enum token_type type;
    bool literal;     /* a string that came as literal */
    const char *text; /* NUL-terminated; octets in `len` */
    size_t len;
    struct token *list;  /* first child of LIST or SECTION, NULL if empty */
    const char *partial; /* of SECTION: text between < and >, or NULL */
    struct token *next;
};

struct imapparse_limits {
    size_t max_arguments; /* octets of all tokens of the command */
    unsigned max_depth;   /* nested lists */
};

enum imapparse_result {
    PARSE_DONE = 0,
    PARSE_LITERAL =
        1, /* literal of literal_size octets follows (literal_sync: send "+ " first) */
};

#define IMAPPARSE_DEPTH 64 /* lists are never nested deeper, whatever max_depth says */

struct imapparse {
    struct arena *arena;
    struct imapparse_limits limits;
    const char *tag;  /* NULL until known; "+" is no tag */
    const char *name; /* command, upper case, without "UID " */
    bool uid;         /* "UID FETCH" ... */
    struct token *args;
    uint64_t literal_size;
    bool literal_sync; /* {n} rather than {n+} */
    bool literal8;     /* ~{n} */
    const char *error; /* on ERR_SYNTAX, ERR_LIMIT: a text for the BAD response */
    /* private */
    size_t used;                             /* counted against max_arguments */
    unsigned depth, lists;                   /* open containers; those that are lists */
    struct token *open[IMAPPARSE_DEPTH + 2]; /* [0] isn't used: the arguments */
    struct token **tail[IMAPPARSE_DEPTH + 2];
    unsigned state;
};

void imapparse_begin(struct imapparse *p, struct arena *arena,
                     const struct imapparse_limits *limits);
/* A line without its CRLF. PARSE_DONE, PARSE_LITERAL, ERR_SYNTAX (p->tag may be known),
   ERR_LIMIT. NUL in a line is a syntax error. Empty parts are allowed where clients send them:
   trailing blanks are ignored.

   After an error, a line that ends in a literal still has it in literal_size: with literal_sync
   the client waits and the BAD ends its command; without, it sends those octets and the rest of
   the command in any case, and the session must read them away (RFC 7888 4). literal_size is 0
   when there is none.

   max_arguments counts the octets of lines and literals, and 8 for each token, so that the
   memory of a command is bounded too. A message literal of APPEND isn't counted. */
int imapparse_line(struct imapparse *p, const char *line, size_t len);
/* The bytes of the literal asked for; kept in the arena by the caller (arena_memdup adds the
 * NUL). */
/* A NUL in it, unless it's a literal8, makes the next imapparse_line() fail. */
void imapparse_literal(struct imapparse *p, const char *data, size_t len);

/* Which literal is next? APPEND's message must not go into memory: after PARSE_LITERAL this
   tells that the command is APPEND and the literal is a message (its arguments so far are
   mailbox, [flags], [date]); the session then streams it itself, and calls
   imapparse_literal_taken(), which puts a STRING token with text "" and len 0 in its place;
   further parts of MULTIAPPEND follow in the next line. */
bool imapparse_at_append_message(const struct imapparse *p);
void imapparse_literal_taken(struct imapparse *p);

/* Helpers for handlers. All return NULL or false when the token isn't of that kind. */
bool token_is_atom(const struct token *t, const char *word); /* without regard to case */
bool token_is_astring(const struct token *t);                /* atom or string */
bool token_number(const struct token *t, uint64_t max, uint64_t *n); /* digits only, 0 .. max */
size_t token_count(const struct token *list);                        /* siblings from here on */

/* Writing: a string as quoted or literal, whichever it needs (RFC 3501 4.3); NULL as NIL. A
   NUL, which no IMAP string can hold, is written as 0x80. */
struct buf;
void imap_write_string(struct buf *out, const char *s, size_t len);
void imap_write_nstring(struct buf *out, const char *s, size_t len); /* s NULL: NIL */
void imap_write_astring(struct buf *out, const char *s, size_t len); /* atom if it can be */

#endif

/*
 * SEARCH in its parts: the program of a command (search_parse.c), its evaluation
 * (search_eval.c), the command and its answers (cmd_search.c). Private to src/imap.
 */
#ifndef IMAP_SEARCH_H
#define IMAP_SEARCH_H

#include "format/mimetext.h"
#include "imap/imap_session.h"

#define SEARCH_NEEDLES_MAX                                                                     \
    64 /* BODY and TEXT keys of one command: mimetext_search()'s bits                          \
        */

enum search_op {
    SEARCH_AND, /* children */
    SEARCH_OR,  /* children */
    SEARCH_ALL,
    SEARCH_FLAG, /* any of flags or keywords */
    SEARCH_RECENT,
    SEARCH_UIDS,
    SEARCH_BEFORE, /* day, by the internal date in the local zone */
    SEARCH_ON,
    SEARCH_SINCE,
    SEARCH_LARGER, /* number: octets on the wire */
    SEARCH_SMALLER,
    SEARCH_OLDER, /* number: seconds, RFC 5032 */
    SEARCH_YOUNGER,
    SEARCH_SENTBEFORE, /* day, as written in the Date field */
    SEARCH_SENTON,
    SEARCH_SENTSINCE,
    SEARCH_HEADER,
    SEARCH_TEXT /* BODY and TEXT: bit */
};

/* What must be known of a message before a key can be judged, the cheapest first. */
enum search_level {
    LEVEL_INDEX,
    LEVEL_FREQUENT, /* header fields that are cached */
    LEVEL_HEADER,   /* the whole header */
    LEVEL_TEXT
};

struct search_key {
    enum search_op op;
    enum search_level level; /* of leaves */
    bool negate;
    struct search_key *children, *next;
    unsigned flags;
    uint64_t keywords;
    struct seqset *uids;
    int32_t day;
    uint64_t number;
    const char *header;
    struct needle *needle; /* NULL: only whether the header is there */
    unsigned bit;
};

struct search_program {
    struct search_key root; /* SEARCH_AND */
    unsigned levels;        /* bit per level that some key needs */
    unsigned keys;
    bool needs_size, needs_date;                      /* of the record: enum view_want */
    const struct needle *needles[SEARCH_NEEDLES_MAX]; /* of SEARCH_TEXT */
    enum needle_where where[SEARCH_NEEDLES_MAX];
    size_t needles_count;
    const char *error; /* for the reply, on ERR_SYNTAX and ERR_LIMIT */
};

/*
 * Reads keys from t on. `charset` NULL: none was given. 0; ERR_SYNTAX, ERR_RANGE, ERR_LIMIT
 * (BAD); ERR_UNSUPPORTED: the strings aren't in that charset, or it is unknown (BADCHARSET).
 * search_program_free() in any case.
 */
int search_parse(struct imap *im, const struct token *t, const char *charset,
                 struct search_program *out);
void search_program_free(struct search_program *p);

/* Judges the messages of the view whose UIDs are in `candidates`: those that match go into
   uids and, as numbers, into seqs (NULL: not needed), ascending. 0, a store error, ERR_TEMP
   when the server stops, ERR_EOF when the client has gone. */
int search_run(struct imap *im, const struct search_program *p, const struct seqset *candidates,
               struct seqset *uids, struct seqset *seqs);

/* search_set.c */
void seqset_intersect(const struct seqset *a, const struct seqset *b, struct seqset *out);
void seqset_unite(const struct seqset *a, const struct seqset *b, struct seqset *out);

#endif

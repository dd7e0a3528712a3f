/*
 * FETCH in its parts: the plan of a command (fetch_plan.c), items from index and cache
 * (fetch_items.c), sections of the message file (fetch_body.c). Private to src/imap/fetch_*.c,
 * cmd_fetch.c and cmd_search.c (cached headers).
 */
#ifndef IMAP_FETCH_H
#define IMAP_FETCH_H

#include "imap/imap_session.h"

enum fetch_kind {
    FETCH_FLAGS,
    FETCH_UID,
    FETCH_INTERNALDATE,
    FETCH_SIZE,
    FETCH_ENVELOPE,
    FETCH_BODY,
    FETCH_BODYSTRUCTURE,
    FETCH_SECTION /* BODY[...], RFC822, RFC822.HEADER, RFC822.TEXT */
};

enum fetch_section {
    SECTION_ALL,
    SECTION_HEADER,
    SECTION_FIELDS,
    SECTION_FIELDS_NOT,
    SECTION_TEXT,
    SECTION_MIME
};

struct fetch_item {
    enum fetch_kind kind;
    const char *label; /* what stands before the value, with the blank */
    size_t label_len;
    /* of FETCH_SECTION */
    enum fetch_section section;
    const uint32_t *path; /* part numbers */
    size_t path_len;
    const char *const *names; /* of header fields */
    size_t names_count;
    bool frequent; /* all of them are among the cached fields, and path is empty */
    bool partial;
    uint64_t skip, count; /* octets on the wire */
};

struct fetch_plan {
    struct fetch_item *items;
    size_t count;
    unsigned want; /* enum view_want */
    bool sets_seen;
    bool has_flags;
};

/* Reads the item arguments; all in the command's arena. 0, ERR_SYNTAX or ERR_LIMIT. */
int fetch_plan_read(struct imap *im, const struct token *t, struct fetch_plan *plan);

/* The header fields kept in CACHE_HEADERS, on the wire's form. */
bool fetch_is_frequent(const char *name);
/* Writes those of a header block: what goes into the cache. */
void fetch_select_frequent(const char *block, size_t len, struct buf *out);

/* One command under way. */
#define FETCH_FLAG_TEXTS 128 /* 6 flags and \Recent */
struct fetch {
    struct imap *im;
    const struct fetch_plan *plan;
    struct buf out;     /* collected, not yet given to the stream */
    size_t start;       /* in `out`: where the current message's response begins */
    bool started;       /* part of it went to the stream already */
    struct buf scratch; /* header fields, small sections */
    const struct view_message *vm;
    bool broken; /* the stream is out of step: the connection must end */
    struct {
        uint8_t len; /* 0: not made yet */
        char text[71];
    } flag_texts[FETCH_FLAG_TEXTS];
};

/* Gives what is collected to the stream. */
void fetch_flush(struct fetch *f);

/* Appends the value of an item of kind other than FETCH_SECTION. 0 or ERR_*: then f->out may
   have part of it. */
int fetch_write_item(struct fetch *f, const struct fetch_item *item);
/* The same for FETCH_SECTION; large ones go straight to the stream. */
int fetch_write_section(struct fetch *f, const struct fetch_item *item);

/*
 * The message that was opened last, so that a client which reads a large one in pieces doesn't
 * make us open, parse and skip again for each piece. Belongs to the selected mailbox.
 */
struct fetch_memo {
    uint32_t uid;        /* 0: none */
    struct message *msg; /* NULL: not opened yet */
    struct arena *arena;
    struct mime_part *root; /* NULL: not needed yet */
    bool parsed;            /* root is from the message, not from the cache: has everything */
    bool header_known;
    struct buf header; /* up to the limit */
    uint64_t header_len, header_crlf;
};

/* All three set the memo to this message first. 0, ERR_GONE, ERR_IO ... */
int fetch_open(struct imap *im, const struct view_message *vm, struct fetch_memo **memo);
int fetch_open_header(struct imap *im, const struct view_message *vm, struct fetch_memo **memo);
/* `parsed`: the whole structure is needed, not only where parts are. */
int fetch_open_parts(struct imap *im, const struct view_message *vm, bool parsed,
                     struct fetch_memo **memo);

/* The cached fields of a message as wire bytes, from the cache, or from the file (then they are
   cached, and *p points into scratch). 0 or ERR_*. */
int fetch_frequent(struct imap *im, const struct view_message *vm, struct buf *scratch,
                   const char **p, size_t *len);

#endif

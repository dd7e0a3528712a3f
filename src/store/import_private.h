/*
 * Shared by the import_*.c files and their tests.
 *
 *   import.c          which list counts; the table of what it says
 *   import_lines.c    a file, line by line
 *   import_dovecot.c  dovecot-uidlist
 *   import_courier.c  courierimapuiddb, courierpop3dsizelist, courierimapkeywords/
 *   import_names.c    folders' names, subscriptions
 *   import_scan.c     lists -> index, in the first scan of a folder
 *   import_account.c  all folders, ahead of time
 */
#ifndef STORE_IMPORT_PRIVATE_H
#define STORE_IMPORT_PRIVATE_H

#include "base/buf.h"
#include "store/import.h"
#include "store/keywords.h"
#include "store/scan_private.h"

#define IMPORT_ENTRIES_MAX 8000000u /* messages of a folder */
#define IMPORT_LINE_MAX    4096     /* octets */
#define IMPORT_TEXT_MAX    (1u << 30)
#define IMPORT_KEYWORDS    KEYWORDS_MAX
/* names in one folder at Courier, of which the first IMPORT_KEYWORDS are kept */
#define IMPORT_LIST_KEYWORDS 1024

/* One message: what the lists say of it. Offsets are of `text`; 0 is "". */
struct import_entry {
    uint32_t uid;
    uint32_t name, uidl, other;
    uint64_t keywords;
    uint64_t crlf_size;
    uint8_t base_len;
};

struct import {
    uint32_t uidvalidity, uidnext;
    uint32_t last_uid; /* of the list that's being read */
    char version;      /* the first octet of its header */
    char guid[33];
    struct buf text;
    struct import_entry *entries;
    uint32_t count, cap;
    uint32_t *slots; /* index + 1 of an entry, 0 = free */
    uint32_t slots_count;
    uint32_t seed;
    bool keywords_known; /* each message's keywords are those of its entry, and no others */
    unsigned keywords_count;
    char keywords[IMPORT_KEYWORDS][KEYWORD_NAME_MAX + 1];
    /* import_courier.c: a file of keywords that's being read */
    bool list_names; /* the names of `:list` haven't ended */
    unsigned list_count;
    uint64_t list_bits[IMPORT_LIST_KEYWORDS]; /* of its names */
    uint64_t update;                          /* one message's */
    /* import_scan.c: what they are in the mailbox */
    bool keywords_mapped;
    uint64_t keyword_bits[IMPORT_KEYWORDS];
    unsigned keyword_flags[IMPORT_KEYWORDS];
};

struct import *import_new(void);
/* The entry of a base name, made if missing; NULL: no message's name, or too many. */
struct import_entry *import_entry(struct import *imp, const char *base, size_t len);
/* The same for a list's line with a UID. NULL also if the UID doesn't grow, or is above
   IMPORT_UID_MAX. Of two lines with one name the later counts. */
struct import_entry *import_listed(struct import *imp, uint64_t uid, const char *base,
                                   size_t len);
/* A list's header. False: no UIDVALIDITY. */
bool import_header(struct import *imp, uint64_t uidvalidity, uint64_t uidnext);
/* "<uidvalidity> <next uid>", as version 1 of both servers' lists has it. */
bool import_header_numbers(struct import *imp, const char *s);
/* A copy in `text`. */
uint32_t import_text(struct import *imp, const char *s, size_t len);
/* Is it one that a POP3 client may be told? */
bool import_uidl_ok(const char *s, size_t len);
/* The bit of a keyword's name, added if new; 0: it can't be one, or there are too many. */
uint64_t import_keyword_bit(struct import *imp, const char *name);
/* Drops UIDLs that come twice: nobody could tell which message was meant. */
void import_unique_uidls(struct import *imp);
/* Takes the lines' decimal number at *s, up to 2^64 - 1; false: there's none. */
bool import_number(const char **s, uint64_t *n);

/* import_names.c: a folder's name of another server, in UTF-8 or already modified UTF-7, as it
   is here. False: it can't be. */
bool import_name(const char *name, struct buf *out);

/* import_lines.c: one line without its end, number 1, 2 ... False: it makes no sense. *stop:
   nor will the rest. */
typedef bool import_line_fn(struct import *imp, char *line, size_t len, unsigned long number,
                            bool *stop);
/* `bad` counts lines that made no sense; an end without a line end is one. */
struct import_lines {
    import_line_fn *fn;
    struct import *imp;
    unsigned long number, bad, first_bad;
    bool stop, skip;
    size_t len;
    char line[IMPORT_LINE_MAX + 1];
};
void import_lines_feed(struct import_lines *l, const char *p, size_t n);
void import_lines_end(struct import_lines *l);
/* The file `name` in `fd`, through a line function. 0, ERR_NOENT, ERR_*. What makes no sense is
   logged. */
int import_lines_read(int fd, const char *folder, const char *name, import_line_fn *fn,
                      struct import *imp);

import_line_fn import_dovecot_line, import_courier_line, import_courier_pop3_line;
/* courierimapkeywords/:list, and a file of one message in there. */
import_line_fn import_courier_keywords_line, import_courier_update_line;
/* Reads all of courierimapkeywords/. 0 or ERR_*; none is 0. */
int import_courier_keywords(int fd, const char *folder, struct import *imp);

#endif

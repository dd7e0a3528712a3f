/*
 * Mailbox names between the client and the disk.
 *
 * Inside the server a folder has its *internal name*: the Maildir++ directory name without the
 * leading dot, in modified UTF-7 (RFC 3501 5.1.3) with '.' between levels, e.g. "Archive.2020";
 * the inbox is "INBOX" (in any case from a client; also as first level: "inbox.x" is
 * "INBOX.x"). A client's name has the configured separator and prefix. With separator '/', a
 * '.' inside a level can't be stored (ERR_CANNOT); '/' inside a level can't either with '.'.
 */
#ifndef FORMAT_MBOXNAME_H
#define FORMAT_MBOXNAME_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

#define MBOXNAME_MAX                                                                           \
    240 /* octets of an internal name: the directory name must fit a file system's 255 */

struct mboxname_rules {
    char separator;     /* '.' or '/' */
    const char *prefix; /* "" or e.g. "INBOX." (written with the separator) */
};

/* Client's name (mUTF-7, as it came) -> internal name. A trailing separator is cut off
   (*had_trailing, may be NULL, says so). With prefix "INBOX.", "INBOX.x" is "x"; a name that is
   not under the prefix, except INBOX, is ERR_NOENT. ERR_CANNOT: empty, empty level, '/' or NUL
   or control character, "." or "..", over MBOXNAME_MAX, level ~ nothing else; ERR_SYNTAX: bad
   modified UTF-7 (only when `strict`, i.e. for CREATE and RENAME targets; otherwise such a name
   passes as it is, so that a folder another program made can be reached). With a prefix, a name
   that would be a second INBOX ("INBOX.INBOX") is ERR_CANNOT. *internal is emptied first. */
int mboxname_from_client(const struct mboxname_rules *r, const char *name, size_t len,
                         bool strict, struct buf *internal, bool *had_trailing);
/* A name as it's typed in a shell or a recipe -> internal name: UTF-8, or modified UTF-7 if
   it's that; with the separator, with or without the prefix. As for CREATE otherwise:
   ERR_CANNOT, ERR_SYNTAX. *internal is emptied first. */
int mboxname_from_text(const struct mboxname_rules *r, const char *text, struct buf *internal);
/* Internal -> client's name, appended to *out. */
void mboxname_to_client(const struct mboxname_rules *r, const char *internal, struct buf *out);

/* Modified UTF-7 <-> UTF-8 (strict: no superfluous shifts, no encoded ASCII, no lone
 * surrogates, no control characters). Appended to *out. 0, ERR_SYNTAX, ERR_LIMIT (out full). */
int mutf7_to_utf8(const char *in, size_t len, struct buf *out);
int mutf7_from_utf8(const char *in, size_t len, struct buf *out);

/*
 * LIST patterns (RFC 3501 6.3.8): '*' matches anything, '%' anything but the separator; INBOX
 * matches in any case. Linear in (pattern * name) at worst, no recursion.
 */
enum mboxname_match {
    MATCH_NO = 0,
    MATCH_YES = 1,
    MATCH_PARENT = 2, /* the name doesn't match, but a child of it could */
    MATCH_CHILD =
        4 /* a parent of the name matches (for `%` with LSUB and non-existent parents) */
};
/* Bits of enum mboxname_match for a client's name against a client's pattern. */
unsigned mboxname_match(const char *pattern, const char *name, char separator);

#endif

/*
 * Maildir file names: `base[,S=size][,W=crlfsize][,X=...]:2,FLAGS`.
 * Flags are sorted letters: D draft, F flagged, P passed, R replied, S seen, T trashed
 * (deleted), a-z keywords. Unknown upper-case letters and `,X=` fields are kept.
 */
#ifndef FORMAT_MDNAME_H
#define FORMAT_MDNAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* System flags (RFC 3501 2.3.2), as stored in the index too. */
#define MSG_SEEN     0x01u
#define MSG_ANSWERED 0x02u
#define MSG_FLAGGED  0x04u
#define MSG_DELETED  0x08u
#define MSG_DRAFT    0x10u
#define MSG_FLAGS    0x1fu /* all of them */
#define MSG_PASSED                                                                             \
    0x20u /* Maildir's P: kept, also shown as keyword $Forwarded by the IMAP side */

#define MDNAME_SIZE_UNKNOWN UINT64_MAX
#define MDNAME_MAX          255 /* octets of a name */

struct mdname {
    const char *base; /* whole part before ":2,", fields included; points into the name given */
    size_t base_len;  /* two names are the same message when these octets are equal */
    uint64_t size;    /* ,S=  octets of the file */
    uint64_t crlf_size;         /* ,W=  octets with CRLF line ends */
    unsigned flags;             /* MSG_* */
    uint32_t keywords;          /* bit 0 = letter a */
    bool has_info;              /* ":2," was there */
    char other[MDNAME_MAX + 1]; /* what else is in the info: unknown letters, sorted, and then
                                   whatever follows a comma, as it is */
};

/* Takes a name apart. ERR_SYNTAX: not a message (leading dot, empty, over MDNAME_MAX, a line
   end or slash in it). */
int mdname_parse(const char *name, struct mdname *out);
/* base + ":2," + sorted letters into out (MDNAME_MAX + 1 octets). ERR_LIMIT when too long. */
int mdname_build(const char *base, size_t base_len, unsigned flags, uint32_t keywords,
                 const char *other, char *out);
/* A new unique base: secs.MusecsPpidQn_random.host,S=size,W=crlfsize. Host characters '/' and
 * ':' are written as octal \057, \072. A size that is MDNAME_SIZE_UNKNOWN is left out. 0 or
 * ERR_LIMIT. */
int mdname_new(uint64_t size, uint64_t crlf_size, char *out);

/* A note of "now, in this process" (a line's worth of text without tabs), by which another
   process can tell later which names mdname_new() made after it: what a process that died
   left behind. */
#define MDNAME_MARK_SIZE 320
void mdname_mark(char out[MDNAME_MARK_SIZE]);
bool mdname_is_after(const char *name, const char *mark);

#endif

/*
 * MIME structure of a message (RFC 2045, 2046): one pass over its bytes from a source, memory
 * proportional to its structure, not to its size.
 *
 * Offsets are octets in the file as it is (LF or CRLF or mixed); the *_crlf sizes count what
 * goes over the wire, where every line ends in CRLF (a bare LF counts two, an existing CRLF
 * two).
 */
#ifndef FORMAT_MIME_H
#define FORMAT_MIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/io.h"

struct conf;

struct mime_limits {
    unsigned max_depth, max_parts, max_headers, max_addresses, max_parameter_segments;
    size_t max_header_size;
};
void mime_limits_from_conf(struct mime_limits *l, const struct conf *conf);

struct mime_param { /* RFC 2231 continuations joined; charset kept as `name*` form when extended
                     */
    const char *name, *value;
    struct mime_param *next;
};

enum mime_encoding { ENC_7BIT, ENC_8BIT, ENC_BINARY, ENC_QP, ENC_BASE64, ENC_OTHER };

struct mime_part {
    struct mime_part *parent, *children,
        *next;                       /* a message/rfc822 part has one child: its message */
    uint64_t header_off, header_len; /* with the blank line */
    uint64_t body_off, body_len;
    uint64_t header_crlf, body_crlf; /* octets on the wire */
    uint64_t body_lines;             /* lines of the body on the wire */
    const char *type, *subtype; /* as written; "TEXT" "PLAIN" by default, "MESSAGE" "RFC822"
                                   inside a digest */
    struct mime_param *params;
    const char *encoding_name; /* as written, upper case; "7BIT" by default */
    enum mime_encoding encoding;
    const char *id, *description, *md5, *location; /* unfolded, NULL if absent */
    const char *disposition;
    struct mime_param *disposition_params;
    const char *const *languages;
    size_t languages_count;
    const char *envelope;
    size_t envelope_len; /* of the root and of each message/rfc822's message: wire form */
    bool is_multipart, is_message; /* as treated: beyond the limits, a part is an opaque leaf */
};

/*
 * Parses the message. Everything is in the arena. Content never makes it fail: beyond a limit
 * the rest is opaque; a multipart without boundary or end is what can be made of it. Only a
 * failing source does (its error). `header`, if not NULL, gets the root header block as it is
 * (up to the limit).
 */
int mime_parse(struct source *src, const struct mime_limits *limits, struct arena *arena,
               struct buf *header, struct mime_part **root);

/* Reads only the root header: its first `max` octets are added to `header`; *len is its length
   with the blank line, *crlf_len the same on the wire. 0 or the source's error. */
int mime_read_header(struct source *src, size_t max, struct buf *header, uint64_t *len,
                     uint64_t *crlf_len);

/* The part of a section number "1.2.3" (RFC 3501 6.4.5), numbers[0..n). NULL if there's none. n
   = 0: root. "1" of a message that isn't multipart is its own body: then the message itself is
   returned. */
struct mime_part *mime_find_part(struct mime_part *root, const uint32_t *numbers, size_t n);

/* Wire forms (RFC 3501 7.4.2). extended: BODYSTRUCTURE, else BODY. */
void mime_write_structure(const struct mime_part *root, bool extended, struct buf *out);
/* "(date subject from sender reply-to to cc bcc in-reply-to message-id)" of a header block. */
void envelope_write(const char *header, size_t len, const struct mime_limits *limits,
                    struct buf *out);

const char *mime_param_get(const struct mime_param *p, const char *name);

/* Serialised tree (a cache entry): offsets and sizes only, so that a part is found without
   parsing again. The reader checks everything (ERR_CORRUPT). The form has a version octet. */
void mime_pack(const struct mime_part *root, struct buf *out);
int mime_unpack(const char *p, size_t len, struct arena *arena, struct mime_part **root);

#endif

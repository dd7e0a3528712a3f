/*
 * Transfer encodings undone in chunks (RFC 2045 6.7, 6.8). Private to mimetext*.c.
 */
#ifndef FORMAT_MIMETEXT_DECODE_H
#define FORMAT_MIMETEXT_DECODE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "format/mime.h"

struct decoder {
    enum mime_encoding encoding;
    unsigned have;  /* Base64: bits waiting; QP: octets of an escape seen, 0 .. 2 */
    uint32_t bits;  /* Base64: their values */
    char first_hex; /* QP: the octet behind '=' */
};

void decoder_init(struct decoder *d, enum mime_encoding encoding);
/* Appends what the octets mean. Never fails: bad ones are skipped (Base64) or stand for
   themselves (quoted-printable). Other encodings are copied. */
void decoder_add(struct decoder *d, const char *p, size_t n, struct buf *out);

#endif

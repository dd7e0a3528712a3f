/*
 * SASL message formats of PLAIN (RFC 4616) and LOGIN, and Base64 (RFC 4648).
 */
#ifndef FORMAT_SASL_H
#define FORMAT_SASL_H

#include <stddef.h>

#include "base/buf.h"

/* authzid NUL authcid NUL passwd, copied to the three buffers (emptied first). ERR_SYNTAX when
   malformed (name or password empty, another NUL), ERR_LIMIT when one doesn't fit. authzid is
   empty if absent. */
int sasl_plain_parse(const char *msg, size_t len, struct buf *authzid, struct buf *authcid,
                     struct buf *password);

/* Both append to *out. */
void base64_encode(const void *p, size_t n, struct buf *out);
/* Strict: no blanks, right padding. ERR_SYNTAX, ERR_LIMIT (out full). */
int base64_decode(const char *s, size_t len, struct buf *out);

#endif

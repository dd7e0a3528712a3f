/*
 * Parameters of MIME fields and their continuations (RFC 2231).
 */
#ifndef FORMAT_RFC2231_H
#define FORMAT_RFC2231_H

#include "base/arena.h"
#include "format/mime.h"
#include "format/mime_lex.h"

/* Reads "; name=value ..." up to the end of the value, at most max parameters (further ones are
   dropped). Continuations are joined: name*0, name*1 -> name; if any segment is extended,
   name* with charset and language in front, and the plain segments percent-encoded. */
struct mime_param *rfc2231_read(struct lexer *lx, unsigned max, struct arena *arena);

#endif

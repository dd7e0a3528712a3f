/*
 * The engine below mime_parse() and mimetext_search(): one pass over a message, telling about
 * each header block and each run of body octets as they come by. Private to src/format.
 */
#ifndef FORMAT_MIME_WALK_H
#define FORMAT_MIME_WALK_H

#include "format/header.h"
#include "format/mime.h"

struct mime_walk_ops {
    /*
     * A header block is complete, or cut at the limit (`part` has offsets only). The callee
     * fills in type, subtype, params, encoding (mime_read_field(), mime_read_end()). `message`:
     * it is a message's (the root's or an encapsulated one's), else a MIME part's. A non-zero
     * result ends the walk and is returned.
     */
    int (*header)(void *ctx, struct mime_part *part, const char *block, size_t len,
                  bool message);
    /* Octets of a leaf's body as they are in the file, the last line end before a boundary
       included. May be NULL. */
    int (*body)(void *ctx, struct mime_part *part, const char *p, size_t n);
};

/* Builds the tree in the arena. 0, the source's error, or what a callback returned. */
int mime_walk(struct source *src, const struct mime_limits *limits, struct arena *arena,
              const struct mime_walk_ops *ops, void *ctx, struct mime_part **root);

/* mime_fields.c: takes one field of a header block for a part; only what steers the walk, or
   with `full` all that BODYSTRUCTURE shows. */
void mime_read_field(struct mime_part *part, const struct header_field *f,
                     const struct mime_limits *limits, struct arena *arena, bool full);
/* After the last field: the defaults; inside a digest that is message/rfc822 (RFC 2046 5.1.5).
 */
void mime_read_end(struct mime_part *part, struct arena *arena);

#endif

/*
 * The bytes of one message on their way into tmp/: what APPEND and delivery have in common.
 * Without the account's lock. Nobody outside the store includes this.
 */
#ifndef STORE_INCOMING_H
#define STORE_INCOMING_H

#include <stdint.h>

#include "base/io.h"
#include "format/mdname.h"

struct incoming {
    int fd;                   /* of the folder: tmp/ is its own; the caller's */
    char tmp[MDNAME_MAX + 1]; /* the file's name in tmp/; "" = there's none */
    int file;                 /* open between incoming_write() and incoming_sync() */
    uint64_t size, crlf_size; /* of the file, and on the wire */
};

/* Makes a file in tmp/ of folder `fd` and writes `headers` (lines with LF; "" = none) and the
   source to it, CRLF as LF. ERR_LIMIT: more than `limit` octets came. After an error only
   incoming_drop() is allowed. */
int incoming_write(struct incoming *in, int fd, const char *headers, struct source *src,
                   uint64_t limit);
/* Sets the internal date (seconds) and makes the file durable. After an error only
   incoming_drop(). */
int incoming_sync(struct incoming *in, int64_t internal_date);
/* The file has gone from tmp/, by a rename. */
void incoming_moved(struct incoming *in);
/* Removes the file, if it's still in tmp/. */
void incoming_drop(struct incoming *in);

#endif

/*
 * One message: what the index knows, and its bytes.
 */
#ifndef STORE_MESSAGE_H
#define STORE_MESSAGE_H

#include <stdint.h>

#include "base/io.h"
#include "store/index.h"

/* An open message file. The bytes on disk have LF (or CRLF) line ends. */
struct message;

void message_close(struct message **m);
uint64_t message_size(const struct message *m); /* octets on disk */
int64_t message_date(const struct message *m);  /* the file's time, seconds */
/* As a source, from octet `offset` for `length` octets (clipped), bytes as on disk. Several may
 * not be read at a time. */
struct source *message_source(struct message *m, uint64_t offset, uint64_t length);
/*
 * Writes the range [offset, offset + length) of the file with every line end as CRLF into the
 * sink, of which only wire octets [skip, skip + count) of the converted bytes are written. A
 * sequence of calls with the same offset and growing skip costs no rescan (the last position is
 * remembered). Returns the number of octets written, or ERR_*.
 */
int64_t message_send(struct message *m, uint64_t offset, uint64_t length, uint64_t skip,
                     uint64_t count, struct sink *to);
/* How many octets message_send() would write for skip, count: needed for the literal's size.
 * Cheap if the range's wire size is known: pass it as `crlf_size`, else MDNAME_SIZE_UNKNOWN. */
int64_t message_wire_size(struct message *m, uint64_t offset, uint64_t length,
                          uint64_t crlf_size, uint64_t skip, uint64_t count);

#endif

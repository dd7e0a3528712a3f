/*
 * What the three files of the stream share: stream.c (life, input), stream_out.c (output) and
 * stream_wait.c (waiting, interrupting, the switch to TLS).
 */
#ifndef NET_STREAM_INTERNAL_H
#define NET_STREAM_INTERNAL_H

#include "net/stream.h"
#include "net/tls_internal.h"

#define STREAM_BUFFER 16384 /* of input, of output; a full TLS record (RFC 8446 5.1) */

struct stream {
    int fd;
    int error;        /* sticks */
    bool broken;      /* sending failed midway, or a handshake: nothing can be sent any more */
    bool eof;         /* the peer has closed: nothing unread in the kernel */
    int64_t write_ms; /* write timeout */
    int64_t deadline; /* of reading, 0 = none */
    char *in, *out;   /* NULL until needed */
    size_t in_pos, in_len, out_len;
    size_t in_high; /* beyond it nothing was written since the last wipe */
    uint64_t bytes_in, bytes_out;
    struct tls_session *tls; /* NULL: cleartext */
    struct sink sink;
};

/* Makes an error stick, and returns the one that does. */
int stream_fail(struct stream *s, int err);
/* The same for an errno value; what ("receiving from") is for the log. */
int stream_fail_errno(struct stream *s, int errnum, const char *what);

/* Milliseconds for poll(2) until `at`; -1 when there is no limit (0). */
int stream_poll_timeout(int64_t at);
/* Waits for events on the socket until `limit`: 0, ERR_TIMEOUT, ERR_IO (none sticks). Signals
   don't end it. */
int stream_wait_ready(struct stream *s, short events, int64_t limit);
/* Makes the eventfd of this process, if it has none. */
void stream_prepare_interrupts(void);

/* Fills the empty input buffer, waiting until the deadline, or not. > 0; 0 when there is
   nothing now, and *events is what to wait for; a sticky error. */
ssize_t stream_fill(struct stream *s, bool waiting, short *events);

#endif

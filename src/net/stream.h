/*
 * A buffered blocking byte stream to one client, over a descriptor or GnuTLS, with a deadline
 * for every wait and errors that stick: after the first failure reads and writes return the
 * same code and do nothing, so that handlers needn't test writes; the command loop tests once.
 *
 * The descriptor must be a stream socket. No call on it blocks (MSG_DONTWAIT); waiting is done
 * by poll(2) against the deadlines, and only after the socket turned out not to be ready.
 * SIGTERM and SIGUSR2 interrupt a wait between commands only (stream_wait).
 *
 * Everything written is collected (16 KiB) and goes out when the buffer is full, at
 * stream_flush(), and before the stream waits for input (so pipelined commands share a write).
 */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/io.h"

struct stream;
struct tls_context;

/* Takes the descriptor over. write_timeout_s: a peer that takes no octet for so long is given
   up (ERR_TIMEOUT). */
struct stream *stream_new(int fd, unsigned write_timeout_s);
/* Sends what is still collected (under the write timeout), says goodbye in TLS if it's on
   (without waiting), closes the descriptor. */
void stream_free(struct stream **s);
/* Gives back the buffers that are empty, up to 50 KiB; they come again by themselves. For a
   session about to be idle for long, after stream_flush() and before its malloc_trim(0). */
void stream_trim(struct stream *s);

/* Reading ends (ERR_TIMEOUT, sticky) when the deadline passes: absolute, in terms of
   sys_monotonic_ms(); 0 = none. A write has its own timeout, but also obeys this one while it's
   nearer than a total of ten write timeouts is long. */
void stream_set_deadline(struct stream *s, int64_t at_ms);

/*
 * Reads a line up to LF, at most max octets without the CR LF or LF, into line (reset first;
 * its own max must allow that). Returns 0; ERR_LIMIT when it's longer: then the rest of the
 * line was read and dropped (up to 1 MiB; beyond that the error sticks), the stream is usable,
 * and line holds max octets: the first of the line, but its last STREAM_LINE_TAIL are those
 * that the line ended with, so that a literal announced there can be seen. NUL octets are kept.
 * ERR_EOF, ERR_TIMEOUT, ERR_IO, ERR_TLS stick.
 */
#define STREAM_LINE_TAIL 32
int stream_read_line(struct stream *s, struct buf *line, size_t max);
/* Reads up to n octets, at least one. > 0, or a sticky error (ERR_EOF included). */
ssize_t stream_read(struct stream *s, void *p, size_t n);
/* Reads exactly n octets, or a sticky error. */
int stream_read_full(struct stream *s, void *p, size_t n);
/* Octets that can be had without waiting (buffered here, in TLS or decompression). */
size_t stream_pending(struct stream *s);
/* Fills with zeros what is left of the octets that were read: there was a password among them.
 */
void stream_wipe_read(struct stream *s);
/* Drops what was received and not read. Used at STARTTLS. */
void stream_drop_input(struct stream *s);

/*
 * Waits until the client sends something (1), `other_fd` (-1 = none) becomes readable (2), the
 * deadline passes (ERR_TIMEOUT, not sticky), or a signal handler called stream_interrupt() (0).
 * At once 1 when input is pending or an error sticks. Flushes first.
 */
int stream_wait(struct stream *s, int other_fd, int64_t deadline_ms);
/*
 * Waits until `other_fd` becomes readable (2) while the client has nothing to say: 1 when it
 * has hung up (with `half`, also when it has only ended its sending, which some do after their
 * last command), 0 as above, ERR_TIMEOUT (not sticky). What the client sends stays where it is.
 */
int stream_wait_other(struct stream *s, int other_fd, bool half, int64_t deadline_ms);
/* From a signal handler: a stream_wait() under way, or the next one, returns 0. Per process. */
void stream_interrupt(void);

void stream_write(struct stream *s, const void *p, size_t n);
void stream_puts(struct stream *s, const char *text);
void stream_printf(struct stream *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Sends what is collected. 0 or the sticky error. */
int stream_flush(struct stream *s);

/* The last words to a client whose reading ended by ERR_TIMEOUT or ERR_LIMIT, such as "* BYE":
   tries once to send the text, without waiting and although the error sticks. Does nothing when
   the connection is lost. */
void stream_last_words(struct stream *s, const char *text);

/* 0, or the error that sticks. */
int stream_error(const struct stream *s);
/* Octets received and sent since the start (inside TLS). */
uint64_t stream_bytes_in(const struct stream *s);
uint64_t stream_bytes_out(const struct stream *s);

/* The server's side of a TLS handshake, within timeout_s. Pending output is flushed first, all
   input received before is dropped. 0 or a sticky error (ERR_TLS, ERR_TIMEOUT, ERR_EOF),
   logged. */
int stream_start_tls(struct stream *s, struct tls_context *ctx, unsigned timeout_s);
bool stream_is_tls(const struct stream *s);
/* E.g. "TLS1.3 ECDHE-X25519 AES-256-GCM", "" without TLS. Valid as long as the stream. */
const char *stream_tls_info(const struct stream *s);

/* The stream as source and sink of the store: valid as long as the stream. The sink writes
   bytes as they are. The source reads up to `octets` octets, then it's at its end. */
struct stream_source {
    struct source source;
    struct stream *stream;
    uint64_t left;
};
void stream_source_init(struct stream_source *src, struct stream *s, uint64_t octets);
struct sink *stream_sink(struct stream *s);

#endif

/*
 * One TLS session on a socket, as stream.c needs it. No call waits: what can't go on says which
 * readiness it needs.
 */
#ifndef NET_TLS_INTERNAL_H
#define NET_TLS_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct tls_context;
struct tls_session;

/* Not an error: wait until the socket is readable or writable, then call again. */
#define TLS_WANT_READ  (-1001)
#define TLS_WANT_WRITE (-1002)

/* The server's side of a session. The context must live as long. */
struct tls_session *tls_session_new(struct tls_context *ctx, int fd);
void tls_session_free(struct tls_session **t);

/* 0, TLS_WANT_*, or ERR_TLS, ERR_EOF, ERR_IO (logged). */
int tls_session_handshake(struct tls_session *t);
/* > 0 octets, TLS_WANT_*, or ERR_EOF, ERR_TLS, ERR_IO (logged but for ERR_EOF). */
ssize_t tls_session_recv(struct tls_session *t, void *p, size_t n);
/* > 0 octets taken, or as above. After TLS_WANT_* the same data must be given again. */
ssize_t tls_session_send(struct tls_session *t, const void *p, size_t n);
/* Octets decrypted and not yet read. */
size_t tls_session_pending(const struct tls_session *t);
/* True when a receive may succeed although the socket isn't readable. */
bool tls_session_buffered(const struct tls_session *t);
/* Tries to send close_notify. */
void tls_session_bye(struct tls_session *t);
/* Gives back the buffer for received records, if it's empty. */
void tls_session_trim(struct tls_session *t);
/* See stream_tls_info(). */
const char *tls_session_info(struct tls_session *t);

#endif

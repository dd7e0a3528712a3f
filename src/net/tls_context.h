/*
 * What the files of TLS share among themselves: they alone see gnutls.h.
 */
#ifndef NET_TLS_CONTEXT_H
#define NET_TLS_CONTEXT_H

#include <gnutls/gnutls.h>

#include "base/buf.h"
#include "net/tls.h"

/* Gives a new session its priorities, credentials and ticket key. */
void tls_context_apply(struct tls_context *ctx, gnutls_session_t session);

/* Sets err->text and returns code. */
int tls_complain(struct tls_error *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Reads a PEM file of at most 1 MiB; what ("certificate", "key") and setting are for messages.
 */
int tls_read_file(const char *path, const char *what, struct buf *out, struct tls_error *err);

#endif

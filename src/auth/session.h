/*
 * What POP3 and IMAP sessions share: the connection as the worker hands it over, the login, the
 * log lines.
 *
 * A session is a function from a struct session to nothing; it may be called many times in one
 * worker, so it keeps nothing (invariant 9): all its memory hangs on the session or on the
 * protocol's own struct.
 */
#ifndef AUTH_SESSION_H
#define AUTH_SESSION_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/conf.h"
#include "net/listener.h"
#include "net/stream.h"
#include "net/tls.h"
#include "store/account.h"

enum session_state {
    SESSION_GREETING,
    SESSION_LOGIN,
    SESSION_ACTIVE,
    SESSION_IDLE,
    SESSION_CLOSING
};

struct session {
    /* set by the worker */
    const struct conf *conf;
    struct stream *stream;
    struct tls_context *tls; /* NULL: no certificate configured, so no STARTTLS */
    const char *service;     /* "imap" or "pop3" */
    const char *local;       /* the listener's address, for the log */
    struct peer peer;
    char id[16]; /* session id, in greeting and log lines */
    const volatile sig_atomic_t
        *stopping; /* set by SIGTERM: finish the command, say BYE, return */
    /* For the scoreboard; text may be NULL = unchanged. */
    void (*report)(struct session *s, enum session_state state, const char *user,
                   const char *command);
    /* set by session_login() */
    char user[256]; /* "" before login */
    struct account *account;
    int auth_fd; /* open as long as the login counts against max_connections_per_user; -1 */
    /* for the last log line */
    int64_t started_ms;
    const char *end_reason; /* static text; NULL = "logged out" */
    uint64_t commands;
};

/* May a password be given in the clear now? False: LOGINDISABLED, no USER in CAPA
 * (login_security, RFC 8314 3). TLS, or peer is the same host over a Unix socket, or `any`. */
bool session_plaintext_ok(const struct session *s);

enum login_result {
    LOGIN_OK = 0,
    LOGIN_FAILED,      /* wrong name or password, denied name, account without this service: one
                          answer for all: [AUTHENTICATIONFAILED], [AUTH] */
    LOGIN_UNAVAILABLE, /* auth process or store can't serve now: [UNAVAILABLE], [SYS/TEMP] */
    LOGIN_TOO_MANY, /* max_connections_per_user: [LIMIT], [IN-USE]; after a right password only
                     */
    LOGIN_BROKEN /* the account's mail can't be opened: [SERVERBUG]/[CONTACTADMIN], [SYS/PERM]
                  */
};

/* How the client logs in. The password is wiped by session_login(). */
struct credentials {
    const char *mechanism; /* "PLAIN", "LOGIN" (both SASL and the commands LOGIN, USER/PASS as
                              "plain"), "APOP" */
    const char *authzid;   /* "" or the same as user, else refused */
    const char *user;
    size_t user_len;
    char *password; /* APOP: the digest in hex */
    size_t password_len;
    const char *challenge; /* APOP: the timestamp of the greeting */
};

/*
 * Asks the auth process (which delays the answer after failures; it isn't waited for when the
 * client hangs up, when login_timeout has passed since started_ms, with five seconds at least,
 * or when the session is to end: LOGIN_UNAVAILABLE), opens the account, sets user, account, the
 * log prefix, and writes the log line of the login or failure. Returns the result; on LOGIN_OK
 * the session is logged in.
 */
enum login_result session_login(struct session *s, struct credentials *c);

/* What end_reason says when the stream failed with `err`. */
const char *session_stream_reason(int err);

/* At the end: closes the account and auth_fd, writes the log line ("logged out" or the reason,
   octets in and out, commands), clears the prefix. The stream stays the worker's. */
void session_end(struct session *s);

#endif

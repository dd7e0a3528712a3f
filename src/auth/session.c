/*
 * Login and end of a session, for POP3 and IMAP; see session.h.
 *
 * The log line of a failure is in the form that etc/fail2ban/mansio.conf looks for:
 *
 *     imap[id]: login failed: user=<ann> rip=192.0.2.1 reason="wrong password" ...
 *
 * The user's name comes from the client: it's cut, and what could end it in the line is
 * replaced, so that nobody can have another address banned.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "auth/auth_client.h"
#include "auth/password.h"
#include "auth/session.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "format/rules.h"

#define SEND_TIMEOUT_S 10    /* to ask the auth process, and to read what it answers */
#define WAIT_MAX_MS    95000 /* it answers within a delay of 60 s and 30 s for the hash */
#define WAIT_MIN_MS    5000  /* what a login at the end of login_timeout gets */
#define HALF_MS        2000  /* from then on a client that sends no more is taken for gone */
#define NAME_SHOWN     64    /* octets of a name in a log line */

static bool
is_private(const struct session *s)
{
    return stream_is_tls(s->stream) || strcmp(s->peer.address, "local") == 0;
}

bool
session_plaintext_ok(const struct session *s)
{
    return s->conf->login_security == LOGIN_SECURITY_ANY || is_private(s);
}

/* May this mechanism be used on this connection? */
static bool
is_mechanism_ok(const struct session *s, const char *mechanism)
{
    if (strcasecmp(mechanism, "APOP") == 0)
        return s->conf->login_security != LOGIN_SECURITY_TLS || is_private(s);
    return session_plaintext_ok(s);
}

/* For a log line: cut, without what could look like the end of the name or of the line. */
static void
clean_name(const char *name, size_t len, char out[NAME_SHOWN + 1])
{
    size_t n = 0;

    for (; n < len && n < NAME_SHOWN; n++) {
        unsigned char c = (unsigned char)name[n];

        out[n] = c <= 0x20 || c == 0x7f || strchr("<>\"", c) != NULL ? '?' : (char)c;
    }
    out[n] = '\0';
}

static void
log_failure(const struct session *s, const struct credentials *c, const char *reason)
{
    char name[NAME_SHOWN + 1];

    clean_name(c->user, c->user_len, name);
    log_info("login failed: user=<%s> rip=%s reason=\"%s\" service=%s method=%.16s lip=%s "
             "TLS=%s",
             name, s->peer.address, reason, s->service, c->mechanism,
             s->local != NULL ? s->local : "-", stream_is_tls(s->stream) ? "yes" : "no");
}

static void
log_login(const struct session *s, const char *mechanism)
{
    const char *tls = stream_tls_info(s->stream);
    char name[NAME_SHOWN + 1];

    clean_name(s->user, strlen(s->user), name);
    log_info("login: user=<%s> method=%.16s rip=%s lip=%s TLS=%s", name, mechanism,
             s->peer.address, s->local != NULL ? s->local : "-", tls[0] != '\0' ? tls : "no");
}

/* Fills the request. False: the name or the password is impossible. Then the request has the
   empty name, which the auth process refuses as slowly as any other. */
static bool
fill_request(const struct session *s, const struct credentials *c, struct auth_request *rq)
{
    struct buf name = BUF_INIT(1024);
    bool possible;

    memset(rq, 0, sizeof *rq);
    rq->magic = AUTH_MAGIC;
    rq->tls = stream_is_tls(s->stream);
    snprintf(rq->service, sizeof rq->service, "%s", s->service);
    snprintf(rq->mechanism, sizeof rq->mechanism, "%s", c->mechanism);
    snprintf(rq->address, sizeof rq->address, "%s", s->peer.address);
    snprintf(rq->session, sizeof rq->session, "%s", s->id);
    snprintf(rq->challenge, sizeof rq->challenge, "%s", c->challenge ? c->challenge : "");
    possible = c->password_len > 0 && c->password_len < sizeof rq->password &&
               memchr(c->password, '\0', c->password_len) == NULL;
    if (possible)
        memcpy(rq->password, c->password, c->password_len);
    else
        snprintf(rq->password, sizeof rq->password, "-");
    possible = possible &&
               user_name_check(c->user, c->user_len, s->conf->username_lowercase,
                               s->conf->username_default_domain, &name) == 0 &&
               buf_ok(&name) && name.len < sizeof rq->user;
    if (possible)
        memcpy(rq->user, name.data, name.len);
    buf_free(&name);
    return possible;
}

static enum login_result
result_of_open(int error)
{
    switch (error) {
    case ERR_BUSY:
    case ERR_TEMP:
    case ERR_SHORT:
    case ERR_NOSPACE:
    case ERR_QUOTA:
    case ERR_TIMEOUT:
        return LOGIN_UNAVAILABLE;
    default:
        return LOGIN_BROKEN;
    }
}

/* The mail of the user who was let in. 0 or ERR_*. */
static int
open_mail(struct session *s, const struct auth_answer *an)
{
    struct account_params params = {
        .conf = s->conf, .user = an->user, .home = an->home, .quota = an->quota};
    char *mail = NULL;
    int result = 0;

    if (an->mail[0] != '\0')
        result = conf_expand_path(an->mail, an->user, an->home, &mail);
    params.mail_location = mail;
    if (result == 0)
        result = account_open(&params, &s->account);
    free(mail);
    return result;
}

static enum login_result
enter(struct session *s, const struct credentials *c, const struct auth_answer *an, int fd)
{
    int result;

    log_set_prefix("%s(%s)[%s]: ", s->service, an->user, s->id);
    result = open_mail(s, an);
    if (result != 0) {
        log_error("login: the mail of user %.64s can't be opened: %s", an->user,
                  err_text(result));
        log_set_prefix("%s[%s]: ", s->service, s->id);
        close(fd);
        s->account = NULL;
        return result_of_open(result);
    }
    snprintf(s->user, sizeof s->user, "%s", an->user);
    s->auth_fd = fd;
    log_login(s, c->mechanism);
    if (s->report != NULL)
        s->report(s, SESSION_ACTIVE, s->user, NULL);
    return LOGIN_OK;
}

/* Waits for the answer, but not for the sake of a client that has gone, nor beyond the time
   that a login may take, nor when the session is to end. NULL, or why it was given up. */
static const char *
wait_for_answer(struct session *s, int fd)
{
    int64_t now = sys_monotonic_ms(), half = now + HALF_MS;
    int64_t until = s->started_ms + 1000LL * s->conf->login_timeout;
    int n;

    if (until < now + WAIT_MIN_MS)
        until = now + WAIT_MIN_MS;
    if (until > now + WAIT_MAX_MS)
        until = now + WAIT_MAX_MS;
    for (;;) {
        bool late = now >= half;

        if (s->stopping != NULL && *s->stopping)
            return "the auth process wasn't waited for: the session is to end";
        n = stream_wait_other(s->stream, fd, late, late ? until : half);
        now = sys_monotonic_ms();
        if (n == 2)
            return NULL;
        if (n == 1)
            return "the client has hung up";
        if (n < 0 && now >= until)
            return "the auth process didn't answer within login_timeout";
    }
}

/* 0, *fd open if the answer is AUTH_OK; or ERR_TEMP, and *why for the log. */
static int
exchange(struct session *s, const struct auth_request *rq, struct auth_answer *an, int *fd,
         const char **why)
{
    struct buf path = BUF_INIT(4096);
    int result;

    *why = "the auth process can't be asked";
    buf_addf(&path, "%s/auth", s->conf->run_dir);
    result = auth_send(buf_str(&path), rq, SEND_TIMEOUT_S, fd);
    buf_free(&path);
    if (result != 0)
        return result;
    *why = wait_for_answer(s, *fd);
    if (*why != NULL) {
        close(*fd);
        *fd = -1;
        return ERR_TEMP;
    }
    *why = "the auth process can't be asked";
    return auth_receive(fd, an, SEND_TIMEOUT_S);
}

static enum login_result
ask(struct session *s, const struct credentials *c)
{
    struct auth_request rq;
    struct auth_answer an;
    bool possible = fill_request(s, c, &rq);
    const char *why;
    int result, fd = -1;

    result = exchange(s, &rq, &an, &fd, &why);
    secret_wipe(&rq, sizeof rq);
    if (result != 0) {
        log_failure(s, c, why);
        return LOGIN_UNAVAILABLE;
    }
    if (an.status == AUTH_OK)
        return enter(s, c, &an, fd);
    log_failure(s, c, possible ? an.reason : "bad user name or password");
    if (an.status == AUTH_TOO_MANY)
        return LOGIN_TOO_MANY;
    return an.status == AUTH_UNAVAILABLE ? LOGIN_UNAVAILABLE : LOGIN_FAILED;
}

/* Another identity than the one whose password is given isn't offered (RFC 4616 2). */
static bool
is_own_authzid(const struct credentials *c)
{
    size_t len = c->authzid != NULL ? strlen(c->authzid) : 0;

    return len == 0 || (len == c->user_len && memcmp(c->authzid, c->user, len) == 0);
}

enum login_result
session_login(struct session *s, struct credentials *c)
{
    enum login_result result = LOGIN_FAILED;

    log_set_prefix("%s[%s]: ", s->service, s->id);
    if (s->account != NULL)
        log_failure(s, c, "logged in already");
    else if (!is_mechanism_ok(s, c->mechanism))
        log_failure(s, c, "no TLS");
    else if (!is_own_authzid(c))
        log_failure(s, c, "login as somebody else");
    else
        result = ask(s, c);
    secret_wipe(c->password, c->password_len);
    return result;
}

void
session_end(struct session *s)
{
    const char *reason = s->end_reason != NULL ? s->end_reason : "logged out";
    int64_t ms = sys_monotonic_ms() - s->started_ms;

    if (s->account != NULL)
        account_close(&s->account);
    if (s->auth_fd >= 0)
        close(s->auth_fd);
    s->auth_fd = -1;
    if (s->user[0] != '\0')
        log_info("%s: in=%llu out=%llu commands=%llu seconds=%lld.%03d", reason,
                 (unsigned long long)stream_bytes_in(s->stream),
                 (unsigned long long)stream_bytes_out(s->stream),
                 (unsigned long long)s->commands, (long long)(ms / 1000), (int)(ms % 1000));
    else
        log_info("no login: rip=%s reason=\"%s\" service=%s lip=%s TLS=%s commands=%llu",
                 s->peer.address, s->end_reason != NULL ? reason : "closed", s->service,
                 s->local != NULL ? s->local : "-", stream_is_tls(s->stream) ? "yes" : "no",
                 (unsigned long long)s->commands);
    secret_wipe(s->user, sizeof s->user);
    log_set_prefix("%s", "");
}

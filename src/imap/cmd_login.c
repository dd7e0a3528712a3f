/*
 * STARTTLS, LOGIN, AUTHENTICATE (RFC 3501 6.2), initial response (RFC 4959), PLAIN (RFC 4616)
 * and LOGIN.
 *
 * What the store and the auth process say becomes one of few answers; an unknown user and a
 * wrong password look the same. Passwords are wiped when they were used: by session_login() in
 * the credentials, here in every other place.
 */
#include <string.h>
#include <strings.h>

#include "auth/password.h"
#include "base/err.h"
#include "base/sys.h"
#include "format/sasl.h"
#include "imap/imap_session.h"

#define SASL_MAX 8192 /* octets of a decoded response */

static const char not_private[] =
    "[PRIVACYREQUIRED] A password may only be sent after STARTTLS";

struct reply
cmd_starttls(struct imap *im)
{
    int64_t left;

    if (stream_is_tls(im->out))
        return reply_bad("TLS is on already");
    if (im->s->tls == NULL)
        return reply_bad("TLS is not available");
    stream_printf(im->out, "%s OK Begin TLS negotiation now\r\n", im->parse.tag);
    left = im->login_deadline - sys_monotonic_ms();
    if (stream_start_tls(im->out, im->s->tls, left > 1000 ? (unsigned)(left / 1000) : 1) != 0)
        im->s->end_reason = "TLS handshake failed";
    im->id_logged = false; /* what was learnt before counts for nothing (RFC 3501 6.2.1) */
    im->bad_commands = 0;
    return (struct reply){REPLY_NONE, ""};
}

static struct reply
logged_in(struct imap *im)
{
    im->state = STATE_AUTH;
    im->bad_commands = 0;
    stream_set_deadline(im->out, 0); /* login_timeout's */
    if (im->s->report != NULL)
        im->s->report(im->s, SESSION_ACTIVE, im->s->user, "LOGIN");
    return reply_okf(im, "[CAPABILITY %s] Logged in", imap_capabilities(im));
}

static struct reply
log_in(struct imap *im, const char *mechanism, const char *authzid, const char *user,
       size_t user_len, char *password, size_t password_len)
{
    struct credentials c = {.mechanism = mechanism,
                            .authzid = authzid,
                            .user = user,
                            .user_len = user_len,
                            .password = password,
                            .password_len = password_len,
                            .challenge = ""};

    stream_flush(im->out); /* the answer may be delayed; what was said before isn't */
    switch (session_login(im->s, &c)) {
    case LOGIN_OK:
        return logged_in(im);
    case LOGIN_FAILED:
        break;
    case LOGIN_UNAVAILABLE:
        return reply_no("[UNAVAILABLE] Login isn't possible now, try again later");
    case LOGIN_TOO_MANY:
        return reply_no("[LIMIT] Too many connections of this user");
    case LOGIN_BROKEN:
        return reply_no("[CONTACTADMIN] The mail of this account can't be opened");
    }
    return reply_no("[AUTHENTICATIONFAILED] Wrong user name or password");
}

struct reply
cmd_login(struct imap *im)
{
    const struct token *user = im->parse.args;
    struct token *password = user != NULL ? user->next : NULL;
    struct reply r;
    char *secret;

    if (!token_is_astring(user) || !token_is_astring(password) || password->next != NULL)
        return reply_bad("LOGIN needs a user name and a password");
    if (!session_plaintext_ok(im->s))
        return reply_no(not_private);
    secret = (char *)(uintptr_t)password->text; /* in the command's arena: ours to wipe */
    r = log_in(im, "plain", "", user->text, user->len, secret, password->len);
    secret_wipe(secret, password->len);
    return r;
}

/* Asks for a response and decodes it. False: *r is the answer. */
static bool
ask(struct imap *im, const char *challenge, struct buf *out, struct reply *r)
{
    int err;

    stream_printf(im->out, "+ %s\r\n", challenge);
    err = imap_read_plain_line(im);
    if (err != 0 && (err != ERR_LIMIT || stream_error(im->out) != 0)) {
        r->kind = REPLY_NONE;
        return false;
    }
    *r = reply_bad("Authentication cancelled");
    if (err == 0 && im->line.len == 1 && im->line.data[0] == '*')
        return false;
    if (err == 0 && base64_decode(buf_str(&im->line), im->line.len, out) == 0)
        return true;
    imap_refuse_literal(im); /* of a command that was sent too early */
    *r = reply_bad(err == 0 ? "The response isn't Base64" : "The response is too long");
    return false;
}

/* The first response, which may have come with the command; "=" is an empty one (RFC 4959 3).
 */
static bool
first_response(struct imap *im, const struct token *initial, const char *challenge,
               struct buf *out, struct reply *r)
{
    if (initial == NULL)
        return ask(im, challenge, out, r);
    if (strcmp(initial->text, "=") == 0)
        return true;
    if (base64_decode(initial->text, initial->len, out) == 0)
        return true;
    *r = reply_bad("The initial response isn't Base64");
    return false;
}

static void
wipe(struct buf *b)
{
    if (b->data != NULL)
        secret_wipe(b->data, b->cap);
    buf_free(b);
}

static struct reply
sasl_plain(struct imap *im, const struct token *initial)
{
    struct buf msg = BUF_INIT(SASL_MAX), authzid = BUF_INIT(SASL_MAX),
               user = BUF_INIT(SASL_MAX), password = BUF_INIT(SASL_MAX);
    struct reply r;

    if (first_response(im, initial, "", &msg, &r)) {
        r = reply_bad("The response isn't of the form that PLAIN has");
        if (sasl_plain_parse(buf_str(&msg), msg.len, &authzid, &user, &password) == 0) {
            buf_str(&password);
            r = log_in(im, "PLAIN", buf_str(&authzid), buf_str(&user), user.len,
                       password.data != NULL ? password.data : (char[]){""}, password.len);
        }
    }
    wipe(&msg);
    wipe(&authzid);
    wipe(&user);
    wipe(&password);
    return r;
}

static struct reply
sasl_login(struct imap *im, const struct token *initial)
{
    struct buf user = BUF_INIT(SASL_MAX), password = BUF_INIT(SASL_MAX);
    struct reply r;

    if (first_response(im, initial, "VXNlcm5hbWU6", &user, &r) && /* "Username:" */
        ask(im, "UGFzc3dvcmQ6", &password, &r)) {                 /* "Password:" */
        buf_str(&password);
        r = log_in(im, "LOGIN", "", buf_str(&user), user.len,
                   password.data != NULL ? password.data : (char[]){""}, password.len);
    }
    wipe(&user);
    wipe(&password);
    return r;
}

static const struct {
    const char *name, *capability;
    struct reply (*run)(struct imap *im, const struct token *initial);
} mechanisms[] = {
    {"PLAIN", "AUTH=PLAIN", sasl_plain},
    {"LOGIN", "AUTH=LOGIN", sasl_login},
};

struct reply
cmd_authenticate(struct imap *im)
{
    const struct token *name = im->parse.args, *initial;
    struct reply r;

    if (name == NULL || name->type != TOKEN_ATOM)
        return reply_bad("AUTHENTICATE needs a mechanism");
    initial = name->next;
    if (initial != NULL && (initial->type != TOKEN_ATOM || initial->next != NULL))
        return reply_bad("AUTHENTICATE takes a mechanism and an initial response");
    for (size_t i = 0; i < sizeof mechanisms / sizeof mechanisms[0]; i++) {
        if (strcasecmp(mechanisms[i].name, name->text) != 0 ||
            imap_hidden(im, mechanisms[i].capability))
            continue;
        if (!session_plaintext_ok(im->s))
            return reply_no(not_private);
        r = mechanisms[i].run(im, initial);
        if (initial != NULL) /* in the command's arena: ours to wipe */
            secret_wipe((char *)(uintptr_t)initial->text, initial->len);
        return r;
    }
    return reply_no("[CANNOT] This mechanism is not offered");
}

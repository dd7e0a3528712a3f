/*
 * Logging in: USER, PASS, APOP (RFC 1939 7), AUTH (RFC 5034) with PLAIN (RFC 4616) and LOGIN.
 *
 * Whether a password may travel over this connection is asked before it is: USER and AUTH are
 * refused early, so that a careful client doesn't send it.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "auth/password.h"
#include "base/arena.h"
#include "base/err.h"
#include "format/rules.h"
#include "format/sasl.h"
#include "pop3/pop3_session.h"

#define SECRET_MAX 1023 /* octets of a password: what the auth protocol takes */
#define NO_PLAIN   "A password may not be sent over this connection: use STLS or the TLS port"

/* What a client's answer to a challenge is. LOST: there was none, or it was too long, and that
   is answered. */
enum sasl_line { SASL_DATA, SASL_CANCELLED, SASL_BAD, SASL_LOST };

void
pop3_forget(struct pop3 *p)
{
    free(p->user);
    p->user = NULL;
    if (p->line.data != NULL)
        secret_wipe(p->line.data, p->line.cap);
}

/* The maildrop is opened as part of the login: after +OK everything must be there. */
static void
enter(struct pop3 *p)
{
    int err = maildrop_open(p->s->account, &p->drop);

    if (err < 0) {
        pop3_store_err(p, err);
        pop3_end(p, "mailbox not available");
        return;
    }
    p->state = POP3_TRANSACTION;
    p->bad_commands = 0;
    stream_set_deadline(p->out, 0); /* login_timeout's */
    stream_printf(p->out, "+OK Logged in, %u messages\r\n", maildrop_count(p->drop));
}

/* Guessing goes on in another connection, under the growing delay of the auth process. */
static void
count_failure(struct pop3 *p)
{
    if (++p->login_failures < p->conf->max_bad_commands)
        return;
    pop3_end(p, "too many failed logins");
}

void
pop3_login(struct pop3 *p, struct credentials *c)
{
    switch (session_login(p->s, c)) {
    case LOGIN_OK:
        enter(p);
        break;
    case LOGIN_FAILED:
        pop3_err(p, "[AUTH] Wrong user name or password");
        count_failure(p);
        break;
    case LOGIN_UNAVAILABLE:
        pop3_err(p, "[SYS/TEMP] Logging in isn't possible now, try again later");
        break;
    case LOGIN_TOO_MANY:
        pop3_err(p, "[IN-USE] Too many connections of this user");
        break;
    case LOGIN_BROKEN:
        stream_printf(p->out,
                      "-ERR [SYS/PERM] The mailbox can't be opened; "
                      "tell your administrator: session %s\r\n",
                      p->s->id);
        break;
    }
}

void
pop3_cmd_user(struct pop3 *p)
{
    struct pop3_arg *a = &p->args[0];

    if (!session_plaintext_ok(p->s)) {
        pop3_err(p, NO_PLAIN);
        return;
    }
    while (a->len > 0 && a->text[a->len - 1] == ' ')
        a->text[--a->len] = '\0';
    if (a->len == 0 || a->len > USER_NAME_MAX) {
        pop3_bad(p, "That can't be a user name");
        return;
    }
    free(p->user);
    p->user = mem_strdup(a->text);
    /* the same answer for every name: RFC 1939 13 */
    pop3_ok(p, "Send the password");
}

void
pop3_cmd_pass(struct pop3 *p)
{
    struct credentials c = {.mechanism = "PLAIN", .authzid = "", .user = p->user};

    if (!session_plaintext_ok(p->s)) {
        pop3_err(p, NO_PLAIN);
        return;
    }
    if (p->user == NULL) {
        pop3_bad(p, "Send USER first");
        return;
    }
    c.user_len = strlen(p->user);
    c.password = p->args[0].text;
    c.password_len = p->args[0].len;
    pop3_login(p, &c);
    pop3_forget(p); /* RFC 1939 7: after a failure, USER again */
}

bool
pop3_apop_ok(const struct pop3 *p)
{
    return p->challenge[0] != '\0' &&
           (session_plaintext_ok(p->s) || p->conf->login_security == LOGIN_SECURITY_HASHED);
}

/* "APOP name digest": the name may have blanks, the digest is 32 hexadecimal digits. */
void
pop3_cmd_apop(struct pop3 *p)
{
    struct pop3_arg *a = &p->args[0];
    struct credentials c = {.mechanism = "APOP", .authzid = "", .challenge = p->challenge};
    char *digest;

    if (!pop3_apop_ok(p)) {
        pop3_err(p, p->challenge[0] == '\0' ? "APOP isn't offered here" : NO_PLAIN);
        return;
    }
    while (a->len > 0 && a->text[a->len - 1] == ' ')
        a->text[--a->len] = '\0';
    digest = strrchr(a->text, ' ');
    if (digest == NULL || digest == a->text || strlen(digest + 1) != 32 ||
        strspn(digest + 1, "0123456789abcdefABCDEF") != 32) {
        pop3_bad(p, "APOP takes a name and 32 hexadecimal digits");
        return;
    }
    *digest = '\0';
    c.user = a->text;
    c.user_len = (size_t)(digest - a->text);
    c.password = digest + 1;
    c.password_len = 32;
    pop3_login(p, &c);
    pop3_forget(p);
}

/* Base64 into out. RFC 5034 4: "=" as initial response stands for an empty one. */
static enum sasl_line
decode(const char *text, size_t len, struct buf *out)
{
    buf_reset(out);
    return base64_decode(text, len, out) == 0 ? SASL_DATA : SASL_BAD;
}

/* Sends a challenge (Base64) and reads the answer. */
static enum sasl_line
ask(struct pop3 *p, const char *challenge, struct buf *out)
{
    stream_printf(p->out, "+ %s\r\n", challenge);
    if (pop3_read_line(p) < 0)
        return SASL_LOST;
    buf_str(&p->line);
    if (p->line.len == 1 && p->line.data[0] == '*')
        return SASL_CANCELLED;
    return decode(p->line.data, p->line.len, out);
}

/* The first answer: what came with the command, or what the challenge brings. */
static enum sasl_line
first_answer(struct pop3 *p, const char *challenge, struct buf *out)
{
    if (p->args_count < 2)
        return ask(p, challenge, out);
    if (strcmp(p->args[1].text, "=") == 0) {
        buf_reset(out);
        return SASL_DATA;
    }
    return decode(p->args[1].text, p->args[1].len, out);
}

struct sasl_state {
    struct buf message, authzid, user, password;
};

/* Reads what the mechanism needs into st. */
typedef enum sasl_line sasl_exchange(struct pop3 *p, struct sasl_state *st);

static enum sasl_line
exchange_plain(struct pop3 *p, struct sasl_state *st)
{
    enum sasl_line result = first_answer(p, "", &st->message);

    if (result == SASL_DATA && sasl_plain_parse(st->message.data, st->message.len, &st->authzid,
                                                &st->user, &st->password) < 0)
        return SASL_BAD;
    return result;
}

static enum sasl_line
exchange_login(struct pop3 *p, struct sasl_state *st)
{
    enum sasl_line result = first_answer(p, "VXNlcm5hbWU6", &st->user); /* Username: */

    if (result == SASL_DATA)
        result = ask(p, "UGFzc3dvcmQ6", &st->password); /* Password: */
    return result;
}

static const struct mechanism {
    const char *name, *capability; /* the latter for hidden_capabilities */
    sasl_exchange *exchange;
} mechanisms[] = {
    {"PLAIN", "AUTH=PLAIN", exchange_plain},
    {"LOGIN", "AUTH=LOGIN", exchange_login},
};
#define MECHANISMS (sizeof mechanisms / sizeof mechanisms[0])

static void
run_mechanism(struct pop3 *p, const struct mechanism *m)
{
    struct sasl_state st = {BUF_INIT(4096), BUF_INIT(USER_NAME_MAX), BUF_INIT(USER_NAME_MAX),
                            BUF_INIT(SECRET_MAX)};
    struct credentials c = {.mechanism = m->name};
    struct buf *all[] = {&st.message, &st.authzid, &st.user, &st.password};
    size_t i;

    switch (m->exchange(p, &st)) {
    case SASL_DATA:
        c.authzid = buf_str(&st.authzid);
        c.user = buf_str(&st.user);
        c.user_len = st.user.len;
        c.password_len = st.password.len;
        buf_addc(&st.password, '\0');
        c.password = st.password.data;
        pop3_login(p, &c);
        break;
    case SASL_CANCELLED:
        pop3_err(p, "Cancelled");
        break;
    case SASL_BAD:
        pop3_bad(p, "That isn't Base64 of what the mechanism expects");
        break;
    case SASL_LOST:
        break;
    }
    for (i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (all[i]->data != NULL)
            secret_wipe(all[i]->data, all[i]->cap);
        buf_free(all[i]);
    }
    pop3_forget(p);
}

void
pop3_cmd_auth(struct pop3 *p)
{
    size_t i;

    if (p->args_count == 0) {
        pop3_ok(p, "Mechanisms:");
        for (i = 0; i < MECHANISMS && session_plaintext_ok(p->s); i++) {
            if (pop3_shows(p, mechanisms[i].capability))
                stream_printf(p->out, "%s\r\n", mechanisms[i].name);
        }
        stream_puts(p->out, ".\r\n");
        return;
    }
    for (i = 0; i < MECHANISMS; i++) {
        if (strcasecmp(mechanisms[i].name, p->args[0].text) == 0 &&
            pop3_shows(p, mechanisms[i].capability))
            break;
    }
    if (i == MECHANISMS)
        pop3_bad(p, "This mechanism isn't offered");
    else if (!session_plaintext_ok(p->s))
        pop3_err(p, NO_PLAIN);
    else
        run_mechanism(p, &mechanisms[i]);
}

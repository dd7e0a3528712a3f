/*
 * The POP3 session: greeting, command loop, end. RFC 1939; limits of design section 8.
 *
 * Nothing is flushed here: the stream flushes before it waits for input, so the answers to
 * pipelined commands (RFC 2449 6.6) share a write. Commands are in cmd_*.c, the table is in
 * commands.c.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "auth/password.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/sys.h"
#include "pop3/pop3.h"
#include "pop3/pop3_session.h"

#define REST_AFTER 3000 /* ms of quiet before memory is given back */

static void
report(struct pop3 *p, enum session_state state, const char *command)
{
    p->reported = command;
    if (p->s->report != NULL)
        p->s->report(p->s, state, NULL, command);
}

void
pop3_end(struct pop3 *p, const char *reason)
{
    p->over = true;
    if (p->s->end_reason == NULL)
        p->s->end_reason = reason;
}

/* RFC 1939 7: APOP's challenge, in the form of a message id, never the same twice. */
static void
make_challenge(struct pop3 *p)
{
    struct buf b = BUF_INIT(sizeof p->challenge - 1);
    char host[128] = "";
    uint64_t chance;

    if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0')
        snprintf(host, sizeof host, "localhost");
    sys_random(&chance, sizeof chance);
    buf_addf(&b, "<%llx.%lld@%s>", (unsigned long long)chance, (long long)sys_now(), host);
    memcpy(p->challenge, buf_str(&b), b.len + 1);
    buf_free(&b);
}

static void
begin(struct pop3 *p, struct session *s)
{
    memset(p, 0, sizeof *p);
    p->s = s;
    p->out = s->stream;
    p->conf = s->conf;
    p->state = POP3_AUTHORIZATION;
    p->login_deadline = sys_monotonic_ms() + 1000LL * s->conf->login_timeout;
    buf_init(&p->line, s->conf->login_max_line + 1);
    report(p, SESSION_LOGIN, "");
    if (s->conf->pop3_apop)
        make_challenge(p);
    stream_printf(p->out, "+OK Mansio ready [%s]%s%s\r\n", s->id,
                  p->challenge[0] != '\0' ? " " : "", p->challenge);
}

static void
finish(struct pop3 *p)
{
    report(p, SESSION_CLOSING, NULL);
    pop3_forget(p);
    maildrop_close(&p->drop);
    buf_free(&p->line);
}

/* Waits until `at` for input: stream_wait()'s result. */
static int
wait_until(struct pop3 *p, int64_t at)
{
    int64_t quiet = sys_monotonic_ms() + REST_AFTER;
    int result;

    if (quiet >= at)
        return stream_wait(p->out, -1, at);
    result = stream_wait(p->out, -1, quiet);
    if (result != ERR_TIMEOUT)
        return result;
    if (p->drop != NULL)
        maildrop_rest(p->drop);
    if (p->s->account != NULL)
        account_idle(p->s->account);
    stream_trim(p->out);
    report(p, SESSION_IDLE, p->reported);
    return stream_wait(p->out, -1, at);
}

static bool
stopping(struct pop3 *p)
{
    if (p->s->stopping == NULL || !*p->s->stopping)
        return false;
    pop3_err(p, "[SYS/TEMP] The server is shutting down");
    pop3_end(p, "server stops");
    return true;
}

/* True when a command comes. RFC 1939 3: a session that times out is closed without a word, and
   deletes nothing. */
static bool
wait_for_command(struct pop3 *p)
{
    bool login = p->state == POP3_AUTHORIZATION;
    int64_t at;
    int result = 0;

    if (login && sys_monotonic_ms() >= p->login_deadline) {
        /* a client that always has the next command ready is never waited for */
        pop3_end(p, "login timeout");
        return false;
    }
    if (!stopping(p) && stream_pending(p->out) > 0)
        return true;
    at = login ? p->login_deadline : sys_monotonic_ms() + 1000LL * p->conf->pop3_idle_timeout;
    while (result == 0 && !p->over) {
        result = wait_until(p, at);
        if (result == ERR_TIMEOUT)
            pop3_end(p, login ? "login timeout" : "idle timeout");
        else if (result == 0)
            stopping(p); /* a signal came; if it wasn't this, wait on */
    }
    return result > 0;
}

int
pop3_read_line(struct pop3 *p)
{
    int64_t at = sys_monotonic_ms() + 1000LL * p->conf->command_timeout;
    bool login = p->state == POP3_AUTHORIZATION;
    int err;

    if (login && p->login_deadline < at)
        at = p->login_deadline;
    stream_set_deadline(p->out, at);
    err = stream_read_line(p->out, &p->line, p->conf->login_max_line);
    /* before login, writing may take no longer than the login either */
    stream_set_deadline(p->out, login ? p->login_deadline : 0);
    if (err == 0)
        return 0;
    if (err == ERR_LIMIT && stream_error(p->out) == 0)
        pop3_bad(p, "Line is too long");
    else if (err == ERR_TIMEOUT)
        pop3_end(p, login && at == p->login_deadline ? "login timeout" : "command timeout");
    return err;
}

/* Cuts the rest of the line into words, or leaves it as one. False: too many. */
static bool
split(struct pop3 *p, char *rest, const struct pop3_command *c)
{
    char *end;

    p->args_count = 0;
    if (c->flags & POP3_RAW) {
        if (*rest != '\0') {
            p->args[0].text = rest;
            p->args[0].len = strlen(rest);
            p->args_count = 1;
        }
        return true;
    }
    while (*(rest += strspn(rest, " ")) != '\0') {
        if (p->args_count == c->max_args)
            return false;
        end = rest + strcspn(rest, " ");
        p->args[p->args_count].text = rest;
        p->args[p->args_count++].len = (size_t)(end - rest);
        if (*end == '\0')
            break;
        *end = '\0';
        rest = end + 1;
    }
    return true;
}

static void
run_line(struct pop3 *p)
{
    const struct pop3_command *c;
    char *name, *rest;

    buf_str(&p->line); /* the NUL */
    name = p->line.len > 0 ? p->line.data : NULL;
    if (name == NULL || strlen(name) != p->line.len) {
        pop3_bad(p, name == NULL ? "Command is missing" : "NUL in a command");
        return;
    }
    rest = name + strcspn(name, " ");
    if (*rest != '\0')
        *rest++ = '\0';
    c = pop3_find_command(p, name);
    if (c == NULL)
        pop3_bad(p, "Unknown command");
    else if (!(c->states & p->state))
        pop3_bad(p, p->state == POP3_AUTHORIZATION ? "Log in first" : "You are logged in");
    else if (!split(p, rest, c))
        pop3_bad(p, "Too many arguments");
    else if (p->args_count < c->min_args)
        pop3_bad(p, "Argument is missing");
    else {
        if (p->reported != c->name)
            report(p, SESSION_ACTIVE, c->name);
        c->handler(p);
    }
}

static void
one_command(struct pop3 *p)
{
    bool login = p->state == POP3_AUTHORIZATION;
    unsigned before = p->bad_commands, max;

    if (pop3_read_line(p) == 0) {
        p->s->commands++;
        run_line(p);
    }
    if (login && p->line.data != NULL)
        secret_wipe(p->line.data, p->line.cap); /* it may have held a password */
    if (login)
        stream_wipe_read(p->out);
    if (p->over || stream_error(p->out) != 0)
        return;
    if (p->bad_commands == before) {
        if (!login)
            p->bad_commands = 0;
        return;
    }
    max = login ? p->conf->login_max_bad_commands : p->conf->max_bad_commands;
    if (p->bad_commands >= max) {
        pop3_err(p, "Too many bad commands");
        pop3_end(p, "too many bad commands");
    }
}

void
pop3_session(struct session *s)
{
    struct pop3 p;

    begin(&p, s);
    while (!p.over && stream_error(p.out) == 0 && wait_for_command(&p))
        one_command(&p);
    if (stream_error(p.out) != 0 && s->end_reason == NULL)
        s->end_reason = session_stream_reason(stream_error(p.out));
    stream_flush(p.out);
    finish(&p);
    session_end(s);
}

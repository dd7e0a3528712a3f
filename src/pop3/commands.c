/*
 * POP3's table of commands (RFC 1939 3), and the forms of answers.
 */
#include <strings.h>

#include "base/err.h"
#include "pop3/pop3_session.h"

static const struct pop3_command commands[] = {
    {"RETR", pop3_cmd_retr, POP3_TRANSACTION, 1, 1, 0},
    {"DELE", pop3_cmd_dele, POP3_TRANSACTION, 1, 1, 0},
    {"TOP", pop3_cmd_top, POP3_TRANSACTION, 2, 2, POP3_CAPABILITY},
    {"LIST", pop3_cmd_list, POP3_TRANSACTION, 0, 1, 0},
    {"UIDL", pop3_cmd_uidl, POP3_TRANSACTION, 0, 1, POP3_CAPABILITY},
    {"STAT", pop3_cmd_stat, POP3_TRANSACTION, 0, 0, 0},
    {"RSET", pop3_cmd_rset, POP3_TRANSACTION, 0, 0, 0},
    {"NOOP", pop3_cmd_noop, POP3_TRANSACTION, 0, 0, 0},
    {"QUIT", pop3_cmd_quit, POP3_ANY, 0, 0, 0},
    {"CAPA", pop3_cmd_capa, POP3_ANY, 0, 0, 0},
    {"LANG", pop3_cmd_lang, POP3_ANY, 0, 1, POP3_CAPABILITY},
    {"USER", pop3_cmd_user, POP3_AUTHORIZATION, 1, 1, POP3_RAW | POP3_CAPABILITY},
    {"PASS", pop3_cmd_pass, POP3_AUTHORIZATION, 1, 1, POP3_RAW},
    {"APOP", pop3_cmd_apop, POP3_AUTHORIZATION, 1, 1, POP3_RAW},
    {"AUTH", pop3_cmd_auth, POP3_AUTHORIZATION, 0, 2, 0},
    {"STLS", pop3_cmd_stls, POP3_AUTHORIZATION, 0, 0, POP3_CAPABILITY},
    {"UTF8", pop3_cmd_utf8, POP3_AUTHORIZATION, 0, 0, POP3_CAPABILITY},
};

const struct pop3_command *
pop3_find_command(const struct pop3 *p, const char *name)
{
    const struct pop3_command *c = commands, *end = c + sizeof commands / sizeof commands[0];

    while (c < end && strcasecmp(c->name, name) != 0)
        c++;
    if (c == end || ((c->flags & POP3_CAPABILITY) != 0 && !pop3_shows(p, c->name)))
        return NULL;
    return c;
}

static void
answer(struct pop3 *p, const char *status, const char *text)
{
    stream_puts(p->out, status);
    stream_puts(p->out, text);
    stream_puts(p->out, "\r\n");
}

void
pop3_ok(struct pop3 *p, const char *text)
{
    answer(p, "+OK ", text);
}

void
pop3_err(struct pop3 *p, const char *text)
{
    answer(p, "-ERR ", text);
}

void
pop3_bad(struct pop3 *p, const char *text)
{
    p->bad_commands++;
    pop3_err(p, text);
}

/* RFC 3206: TEMP is worth another try, PERM needs the administrator. RFC 2449 8.1.2: IN-USE. */
void
pop3_store_err(struct pop3 *p, int err)
{
    static const struct {
        int err;
        const char *text;
    } table[] = {
        {ERR_GONE, "This message has been removed by another session"},
        {ERR_BUSY, "[IN-USE] The mailbox is busy, try again"},
        {ERR_NOSPACE, "[SYS/TEMP] The server's disk is full"},
        {ERR_QUOTA, "[SYS/TEMP] The quota is exceeded"},
        {ERR_SHORT, "[SYS/TEMP] The server is short of resources, try again later"},
        {ERR_TIMEOUT, "[SYS/TEMP] The server took too long, try again later"},
        {ERR_TEMP, "[SYS/TEMP] The server can't do this now, try again later"},
        {ERR_IO, "[SYS/TEMP] The server can't read the mailbox now"},
        {ERR_PERM, "[SYS/PERM] The server may not access the mailbox"},
        {ERR_READONLY, "[SYS/PERM] The mailbox can't be changed"},
        {ERR_NOENT, "[SYS/PERM] The mailbox is missing"},
        {ERR_CORRUPT, "[SYS/PERM] The mailbox is damaged; the administrator has been told"},
    };
    size_t i;

    for (i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (table[i].err == err) {
            pop3_err(p, table[i].text);
            return;
        }
    }
    pop3_err(p, "[SYS/TEMP] Internal error");
}

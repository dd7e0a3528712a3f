/*
 * CAPA (RFC 2449), STLS (RFC 2595), UTF8 and LANG (RFC 6856), NOOP.
 *
 * UTF8: messages are served as they are, before and after the command: what the mailbox holds
 * is ASCII, 8bit or UTF-8 already. RFC 6856 2.1 would have messages with UTF-8 headers refused
 * to clients that didn't ask for it; that is left out on purpose, because mail with raw UTF-8
 * in its headers is common, older clients show it well, and a refused message would stay on the
 * server for ever or stop a client's whole run.
 *
 * STLS, USER, SASL and UTF8 are listed in both states, as their RFCs want it.
 */
#include <string.h>
#include <strings.h>

#include "base/conf.h"
#include "base/err.h"
#include "base/sys.h"
#include "pop3/pop3_session.h"

static const struct {
    const char *tag, *description, *changed;
} languages[] = {
    {"en", "English", "Language changed to English"},
    {"i-default", "Default language", "Language changed to the default"},
};
#define LANGUAGES (sizeof languages / sizeof languages[0])

bool
pop3_shows(const struct pop3 *p, const char *capability)
{
    return !conf_list_has(p->conf->hidden_capabilities, capability);
}

static void
capability(struct pop3 *p, const char *name, const char *arguments)
{
    if (pop3_shows(p, name))
        stream_printf(p->out, "%s%s\r\n", name, arguments);
}

static void
capability_sasl(struct pop3 *p)
{
    bool plain = pop3_shows(p, "AUTH=PLAIN"), login = pop3_shows(p, "AUTH=LOGIN");

    if (plain || login)
        capability(p, "SASL", plain && login ? " PLAIN LOGIN" : plain ? " PLAIN" : " LOGIN");
}

void
pop3_cmd_capa(struct pop3 *p)
{
    pop3_ok(p, "Capabilities:");
    capability(p, "TOP", "");
    capability(p, "UIDL", "");
    capability(p, "PIPELINING", "");
    capability(p, "RESP-CODES", "");
    capability(p, "AUTH-RESP-CODE", "");
    if (p->s->tls != NULL && !stream_is_tls(p->out))
        capability(p, "STLS", "");
    if (session_plaintext_ok(p->s)) {
        capability(p, "USER", "");
        capability_sasl(p);
    }
    capability(p, "UTF8", "");
    capability(p, "LANG", "");
    capability(p, "EXPIRE", " NEVER");
    capability(p, "LOGIN-DELAY", " 0");
    capability(p, "IMPLEMENTATION", " Mansio");
    stream_puts(p->out, ".\r\n");
}

/* RFC 2595 4: everything learnt before TLS is forgotten, and what came behind the command in
   the clear is thrown away (stream_start_tls() does that). */
void
pop3_cmd_stls(struct pop3 *p)
{
    int64_t left = p->login_deadline - sys_monotonic_ms();

    if (stream_is_tls(p->out)) {
        pop3_bad(p, "TLS is on already");
        return;
    }
    if (p->s->tls == NULL) {
        pop3_err(p, "TLS isn't configured here");
        return;
    }
    pop3_ok(p, "Begin TLS");
    if (stream_start_tls(p->out, p->s->tls, left > 1000 ? (unsigned)(left / 1000) : 1) < 0)
        return;
    pop3_forget(p);
    p->bad_commands = 0;
}

void
pop3_cmd_utf8(struct pop3 *p)
{
    pop3_ok(p, "UTF8 enabled");
}

/* RFC 4647 3.4 (lookup): "en-GB" finds "en". */
static bool
matches(const char *range, const char *tag)
{
    size_t n = strlen(tag);

    return strncasecmp(range, tag, n) == 0 && (range[n] == '\0' || range[n] == '-');
}

/* RFC 6856 3. All texts are English, so the choice changes nothing else. */
void
pop3_cmd_lang(struct pop3 *p)
{
    const char *range = p->args_count > 0 ? p->args[0].text : NULL;
    size_t i;

    if (range == NULL) {
        pop3_ok(p, "Languages:");
        for (i = 0; i < LANGUAGES; i++)
            stream_printf(p->out, "%s %s\r\n", languages[i].tag, languages[i].description);
        stream_puts(p->out, ".\r\n");
        return;
    }
    for (i = 0; i < LANGUAGES; i++) {
        if (strcmp(range, "*") == 0 || matches(range, languages[i].tag)) {
            stream_printf(p->out, "+OK %s %s\r\n", languages[i].tag, languages[i].changed);
            return;
        }
    }
    pop3_err(p, "This language isn't offered");
}

void
pop3_cmd_noop(struct pop3 *p)
{
    pop3_ok(p, "Nothing done");
}

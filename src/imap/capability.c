/*
 * The list of capabilities, by state (RFC 3501 6.1.1): before login what a client needs to log
 * in, afterwards the rest. The configuration may hide any of them (hidden_capabilities).
 *
 * CHILDREN (RFC 3348), LIST-STATUS and the like have no command of their own: hiding them only
 * takes them off the list.
 */
#include <string.h>

#include "base/conf.h"
#include "imap/imap_session.h"

static const struct {
    const char *name;
    unsigned states;
} capabilities[] = {
    {"IMAP4rev1", STATE_ANY},
    {"LITERAL+", STATE_ANY},                 /* RFC 7888 */
    {"SASL-IR", STATE_NOT_AUTH},             /* RFC 4959 */
    {"ID", STATE_ANY},                       /* RFC 2971 */
    {"ENABLE", STATE_LOGGED_IN},             /* RFC 5161 */
    {"IDLE", STATE_LOGGED_IN},               /* RFC 2177 */
    {"NAMESPACE", STATE_LOGGED_IN},          /* RFC 2342 */
    {"CHILDREN", STATE_LOGGED_IN},           /* RFC 3348 */
    {"UIDPLUS", STATE_LOGGED_IN},            /* RFC 4315 */
    {"UNSELECT", STATE_LOGGED_IN},           /* RFC 3691 */
    {"MOVE", STATE_LOGGED_IN},               /* RFC 6851 */
    {"MULTIAPPEND", STATE_LOGGED_IN},        /* RFC 3502 */
    {"ESEARCH", STATE_LOGGED_IN},            /* RFC 4731 */
    {"SEARCHRES", STATE_LOGGED_IN},          /* RFC 5182 */
    {"WITHIN", STATE_LOGGED_IN},             /* RFC 5032 */
    {"LIST-EXTENDED", STATE_LOGGED_IN},      /* RFC 5258 */
    {"LIST-STATUS", STATE_LOGGED_IN},        /* RFC 5819 */
    {"STATUS=SIZE", STATE_LOGGED_IN},        /* RFC 8438 */
    {"SPECIAL-USE", STATE_LOGGED_IN},        /* RFC 6154 */
    {"CREATE-SPECIAL-USE", STATE_LOGGED_IN}, /* RFC 6154 */
    {"QUOTA", STATE_LOGGED_IN},              /* RFC 9208, as the next two */
    {"QUOTA=RES-STORAGE", STATE_LOGGED_IN},
    {"QUOTA=RES-MESSAGE", STATE_LOGGED_IN},
};

bool
imap_hidden(const struct imap *im, const char *capability)
{
    return im->conf->hidden_capabilities[0] != '\0' &&
           conf_list_has(im->conf->hidden_capabilities, capability);
}

static void
add(const struct imap *im, struct buf *out, const char *name)
{
    if (imap_hidden(im, name) || (strncmp(name, "QUOTA=", 6) == 0 && imap_hidden(im, "QUOTA")))
        return;
    if (out->len > 0)
        buf_addc(out, ' ');
    buf_adds(out, name);
}

/* How to log in, now (RFC 3501 6.2.1, 6.2.3; RFC 8314 3). */
static void
add_login(const struct imap *im, struct buf *out)
{
    if (im->s->tls != NULL && !stream_is_tls(im->out))
        add(im, out, "STARTTLS");
    if (!session_plaintext_ok(im->s)) {
        add(im, out, "LOGINDISABLED");
        return;
    }
    add(im, out, "AUTH=PLAIN");
    add(im, out, "AUTH=LOGIN");
}

const char *
imap_capabilities(struct imap *im)
{
    struct buf b = BUF_INIT(4096);
    const char *text;

    for (size_t i = 0; i < sizeof capabilities / sizeof capabilities[0]; i++)
        if (capabilities[i].states & im->state)
            add(im, &b, capabilities[i].name);
    if (im->state == STATE_NOT_AUTH)
        add_login(im, &b);
    else if (!imap_hidden(im, "APPENDLIMIT")) /* RFC 7889 */
        buf_addf(&b, " APPENDLIMIT=%zu", im->conf->append_limit);
    text = arena_memdup(im->arena, buf_str(&b), b.len);
    buf_free(&b);
    return text;
}

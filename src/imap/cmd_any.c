/*
 * Commands of any state: CAPABILITY, NOOP, LOGOUT (RFC 3501 6.1), ID (RFC 2971); and ENABLE
 * (RFC 5161), for which there is nothing to enable yet.
 */
#include <string.h>

#include "base/log.h"
#include "imap/imap_session.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "0"
#endif

#define ID_PAIRS_MAX 30 /* RFC 2971 3.3 */
#define ID_FIELD_MAX 30 /* octets */
#define ID_VALUE_MAX 1024
#define ID_LOG_MAX   512 /* octets of the log line */

struct reply
cmd_capability(struct imap *im)
{
    stream_puts(im->out, "* CAPABILITY ");
    stream_puts(im->out, imap_capabilities(im));
    stream_puts(im->out, "\r\n");
    return reply_ok("CAPABILITY completed");
}

struct reply
cmd_noop(struct imap *im)
{
    (void)im;
    return reply_ok("NOOP completed");
}

struct reply
cmd_logout(struct imap *im)
{
    imap_bye(im, "Logging out", NULL);
    return reply_ok("LOGOUT completed");
}

/* One field and its value for the log: without what could end the line or its quotes (the log
   replaces control characters itself). */
static void
add_pair(struct buf *line, const struct token *field, const struct token *value)
{
    buf_adds(line, line->len > 0 ? " " : "");
    for (size_t i = 0; i < field->len; i++)
        buf_addc(line, strchr("\"= ", field->text[i]) != NULL ? '_' : field->text[i]);
    buf_adds(line, "=\"");
    for (size_t i = 0; i < value->len; i++)
        buf_addc(line, value->text[i] == '"' ? '\'' : value->text[i]);
    buf_addc(line, '"');
}

static bool
is_nil(const struct token *t)
{
    return token_is_atom(t, "NIL");
}

/* "(field value field value ...)" or NIL. False: not of that form, or too much. */
static bool
read_id(const struct token *arg, struct buf *line)
{
    size_t pairs = 0;

    if (arg == NULL || arg->next != NULL)
        return false;
    if (is_nil(arg))
        return true;
    if (arg->type != TOKEN_LIST)
        return false;
    for (const struct token *t = arg->list; t != NULL; t = t->next->next) {
        if (t->type != TOKEN_STRING || t->len > ID_FIELD_MAX || t->next == NULL ||
            ++pairs > ID_PAIRS_MAX)
            return false;
        if (is_nil(t->next))
            continue;
        if (t->next->type != TOKEN_STRING || t->next->len > ID_VALUE_MAX)
            return false;
        add_pair(line, t, t->next);
    }
    return true;
}

struct reply
cmd_id(struct imap *im)
{
    struct buf line = BUF_INIT((size_t)ID_PAIRS_MAX * (ID_FIELD_MAX + ID_VALUE_MAX + 8));

    if (!read_id(im->parse.args, &line)) {
        buf_free(&line);
        return reply_bad("ID needs NIL or a list of at most 30 fields and values");
    }
    buf_cut(&line, ID_LOG_MAX);
    if (line.len > 0 && !im->id_logged)
        log_info("client id: %s", buf_str(&line));
    im->id_logged = im->id_logged || line.len > 0;
    buf_free(&line);
    stream_puts(im->out, "* ID (\"name\" \"Mansio\" \"version\" \"" PACKAGE_VERSION "\")\r\n");
    return reply_ok("ID completed");
}

struct reply
cmd_enable(struct imap *im)
{
    if (im->parse.args == NULL)
        return reply_bad("ENABLE needs names of capabilities");
    for (const struct token *t = im->parse.args; t != NULL; t = t->next)
        if (t->type != TOKEN_ATOM)
            return reply_bad("ENABLE needs names of capabilities");
    stream_puts(im->out, "* ENABLED\r\n"); /* unknown ones are ignored, RFC 5161 3.1 */
    return reply_ok("ENABLE completed");
}

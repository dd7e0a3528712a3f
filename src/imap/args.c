/*
 * Arguments that many commands share: message sets, mailbox names, flags (RFC 3501 9).
 */
#include <string.h>
#include <strings.h>

#include "base/conf.h"
#include "base/err.h"
#include "imap/imap_session.h"

/* Flags of one command: far above what any client sends, and bounded for the comparison of
   each with each. */
#define FLAGS_MAX 256

/* Numbers -> UIDs. In an empty mailbox `*` stands for nothing, and clients do ask for 1:*
   there: that's an empty set, not an error. */
static int
read_numbers(struct imap *im, const struct token *t, struct seqset *uids)
{
    uint32_t exists = view_info(im->view)->exists;
    struct seqset numbers;
    int err;

    seqset_init(&numbers);
    err = seqset_parse(t->text, t->len, exists, im->conf->max_set_ranges, &numbers);
    if (err == 0 && !(exists == 0 && memchr(t->text, '*', t->len) != NULL))
        err = view_seqs_to_uids(im->view, &numbers, uids);
    seqset_free(&numbers);
    return err;
}

int
imap_read_set(struct imap *im, const struct token *t, bool uid, struct seqset *uids)
{
    struct seqset asked;
    uint32_t exists, last;
    int err;

    if (t == NULL || t->type != TOKEN_ATOM)
        return ERR_SYNTAX;
    if (strcmp(t->text, "$") == 0) /* RFC 5182 2.1 */
        return imap_hidden(im, "SEARCHRES") ? ERR_SYNTAX
                                            : view_known_uids(im->view, &im->saved, uids);
    if (!uid)
        return read_numbers(im, t, uids);
    exists = view_info(im->view)->exists;
    last = exists > 0 ? view_uid(im->view, exists) : 0;
    if (exists > 0 && last == 0) /* 5:* must not become 1:5 while the index can't be read */
        return ERR_TEMP;
    seqset_init(&asked);
    err = seqset_parse(t->text, t->len, last, im->conf->max_set_ranges, &asked);
    if (err == 0)
        err = view_known_uids(im->view, &asked, uids);
    seqset_free(&asked);
    return err;
}

int
imap_read_mailbox(struct imap *im, const struct token *t, bool creating, const char **internal)
{
    struct buf name = BUF_INIT(4 * MBOXNAME_MAX);
    int err;

    if (!token_is_astring(t))
        return ERR_SYNTAX;
    err = mboxname_from_client(account_names(im->s->account), t->text, t->len, creating, &name,
                               NULL);
    if (err == 0)
        *internal = arena_memdup(im->arena, buf_str(&name), name.len);
    buf_free(&name);
    return err == ERR_SYNTAX ? ERR_CANNOT : err; /* the name is wrong, not the command */
}

static const struct {
    const char *name;
    unsigned bit;
} system_flags[] = {
    {"\\Answered", MSG_ANSWERED},
    {"\\Flagged", MSG_FLAGGED},
    {"\\Deleted", MSG_DELETED},
    {"\\Seen", MSG_SEEN},
    {"\\Draft", MSG_DRAFT},
    {"\\Recent", 0}, /* can't be set by a client (RFC 3501 2.3.2) */
};

static int
read_system_flag(const char *text, unsigned *flags)
{
    for (size_t i = 0; i < sizeof system_flags / sizeof system_flags[0]; i++)
        if (strcasecmp(text, system_flags[i].name) == 0) {
            *flags |= system_flags[i].bit;
            return 0;
        }
    return ERR_SYNTAX;
}

static bool
is_keyword(const struct token *t)
{
    if (t->len == 0)
        return false;
    for (size_t i = 0; i < t->len; i++) {
        unsigned char c = (unsigned char)t->text[i];

        if (c <= 0x20 || c >= 0x7f || strchr("(){%*\"\\]", c) != NULL)
            return false;
    }
    return true;
}

static bool
listed(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcasecmp(names[i], name) == 0)
            return true;
    return false;
}

int
imap_read_flag_tokens(struct imap *im, const struct token *first, struct flag_set *out)
{
    const char **names;
    size_t n = 0;

    memset(out, 0, sizeof *out);
    if (token_count(first) > FLAGS_MAX)
        return ERR_LIMIT;
    names = arena_calloc(im->arena, FLAGS_MAX, sizeof *names);
    for (const struct token *t = first; t != NULL; t = t->next) {
        if (t->type != TOKEN_ATOM)
            return ERR_SYNTAX;
        if (t->text[0] == '\\') {
            if (read_system_flag(t->text, &out->flags) != 0)
                return ERR_SYNTAX;
        } else if (!is_keyword(t)) {
            return ERR_SYNTAX;
        } else if (!listed(names, n, t->text)) {
            names[n++] = t->text;
            if (strcasecmp(t->text, "$Forwarded") == 0) /* Maildir has a letter for it */
                out->flags |= MSG_PASSED;
        }
    }
    out->keywords = names;
    out->keywords_count = n;
    return 0;
}

int
imap_read_flags(struct imap *im, const struct token *list, struct flag_set *out)
{
    if (list == NULL || list->type != TOKEN_LIST)
        return ERR_SYNTAX;
    return imap_read_flag_tokens(im, list->list, out);
}

void
imap_write_mailbox(struct imap *im, const char *internal, struct buf *out)
{
    struct buf name = BUF_INIT(8 * MBOXNAME_MAX);

    mboxname_to_client(account_names(im->s->account), internal, &name);
    imap_write_astring(out, buf_str(&name), name.len);
    buf_free(&name);
}

/*
 * CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 3501 6.3.3-6.3.7), CREATE with special
 * use (RFC 6154 3).
 *
 * A separator at the end of a name in CREATE says that folders will follow below it; here every
 * folder may have some, so it's cut off.
 */
#include <string.h>

#include "base/err.h"
#include "imap/imap_session.h"
#include "store/folders.h"

/* \All and \Flagged are views of other folders' messages, which this server doesn't make. */
#define USES_OFFERED                                                                           \
    (SPECIAL_ARCHIVE | SPECIAL_DRAFTS | SPECIAL_JUNK | SPECIAL_SENT | SPECIAL_TRASH)

/* "(USE (\Drafts \Sent))". 0, ERR_SYNTAX, ERR_CANNOT (a use that isn't offered). */
static int
read_use(const struct token *t, uint32_t *use)
{
    uint32_t bit;

    *use = 0;
    if (t == NULL)
        return 0;
    if (t->type != TOKEN_LIST || t->next != NULL || !token_is_atom(t->list, "USE") ||
        t->list->next == NULL || t->list->next->type != TOKEN_LIST ||
        t->list->next->next != NULL)
        return ERR_SYNTAX;
    for (t = t->list->next->list; t != NULL; t = t->next) {
        if (t->type != TOKEN_ATOM || t->text[0] != '\\')
            return ERR_SYNTAX;
        bit = special_use_bit(t->text);
        if ((bit & USES_OFFERED) == 0)
            return ERR_CANNOT;
        *use |= bit;
    }
    return 0;
}

struct reply
cmd_create(struct imap *im)
{
    static const struct reply no_use = {REPLY_NO, "[USEATTR] This special use can't be given"};
    const struct token *arg = im->parse.args;
    const char *name;
    uint32_t use = 0;
    int err = imap_read_mailbox(im, arg, true, &name);

    if (err != 0 && err != ERR_NOENT)
        return reply_err(err);
    if (err == ERR_NOENT) /* not below the namespace's prefix */
        return reply_no("[CANNOT] Mailbox names begin with the prefix that NAMESPACE tells");
    err = read_use(arg->next, &use);
    if (err == ERR_CANNOT)
        return no_use;
    if (err == 0)
        err = folder_create(im->s->account, name, use);
    if (err == ERR_EXISTS && use != 0 && !folder_exists(im->s->account, name))
        return no_use;
    return err == 0 ? reply_ok("CREATE completed") : reply_err(err);
}

/* The one mailbox argument of DELETE and its kin. */
static int
read_only_argument(struct imap *im, const char **name)
{
    if (im->parse.args == NULL || im->parse.args->next != NULL)
        return ERR_SYNTAX;
    return imap_read_mailbox(im, im->parse.args, false, name);
}

/* The selected mailbox may be deleted; that leaves the selected state. */
struct reply
cmd_delete(struct imap *im)
{
    const char *name;
    int err = read_only_argument(im, &name);

    if (err == 0 && strcmp(name, "INBOX") == 0)
        return reply_no("[CANNOT] INBOX can't be deleted");
    if (err == 0)
        err = folder_delete(im->s->account, name);
    if (err != 0)
        return reply_err(err);
    if (im->view != NULL && strcmp(view_name(im->view), name) == 0)
        imap_deselect(im);
    return reply_ok("DELETE completed");
}

struct reply
cmd_rename(struct imap *im)
{
    const struct token *arg = im->parse.args;
    const char *from, *to;
    int err;

    if (arg == NULL || arg->next == NULL || arg->next->next != NULL)
        return reply_bad("RENAME needs two mailbox names");
    err = imap_read_mailbox(im, arg, false, &from);
    if (err != 0)
        return reply_err(err);
    err = imap_read_mailbox(im, arg->next, true, &to);
    if (err == ERR_NOENT)
        return reply_no("[CANNOT] Mailbox names begin with the prefix that NAMESPACE tells");
    if (err == 0)
        err = folder_rename(im->s->account, from, to);
    return err == 0 ? reply_ok("RENAME completed") : reply_err(err);
}

static struct reply
subscription(struct imap *im, bool on, const char *done)
{
    const char *name;
    int err = read_only_argument(im, &name);

    if (err == 0)
        err = folder_subscribe(im->s->account, name, on);
    return err == 0 ? reply_ok(done) : reply_err(err);
}

struct reply
cmd_subscribe(struct imap *im)
{
    return subscription(im, true, "SUBSCRIBE completed");
}

struct reply
cmd_unsubscribe(struct imap *im)
{
    return subscription(im, false, "UNSUBSCRIBE completed");
}

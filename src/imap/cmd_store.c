/*
 * STORE and EXPUNGE with their UID forms (RFC 3501 6.4.6, 6.4.3, 6.4.8; RFC 4315 2.1).
 *
 * A message that another session expunged meanwhile can't be stored to. RFC 2180 4.2 leaves the
 * choice; here the others are stored and reported, then the answer is NO [EXPUNGEISSUED], so
 * that a client that counts on all of them knows. The UID form ignores UIDs that don't exist.
 */
#include <strings.h>

#include "base/err.h"
#include "imap/imap_session.h"

struct store_request {
    enum store_op op;
    bool silent;
    struct flag_set flags;
};

static const struct {
    const char *name;
    enum store_op op;
    bool silent;
} store_items[] = {
    {"FLAGS", STORE_REPLACE, false}, {"FLAGS.SILENT", STORE_REPLACE, true},
    {"+FLAGS", STORE_ADD, false},    {"+FLAGS.SILENT", STORE_ADD, true},
    {"-FLAGS", STORE_REMOVE, false}, {"-FLAGS.SILENT", STORE_REMOVE, true},
};

/* "+FLAGS.SILENT (\Seen)"; the parentheses may be missing (RFC 3501 9: store-att-flags). */
static int
read_request(struct imap *im, const struct token *t, struct store_request *rq)
{
    size_t n = sizeof store_items / sizeof store_items[0], i;

    for (i = 0; i < n && !token_is_atom(t, store_items[i].name); i++)
        ;
    if (i == n || t->next == NULL)
        return ERR_SYNTAX;
    rq->op = store_items[i].op;
    rq->silent = store_items[i].silent;
    t = t->next;
    if (t->type != TOKEN_LIST)
        return imap_read_flag_tokens(im, t, &rq->flags);
    return t->next != NULL ? ERR_SYNTAX : imap_read_flags(im, t, &rq->flags);
}

/* The view learns a keyword's name when it's synced. One that this command brought into use
   must be told by FLAGS before a message is shown with it. */
static bool
keywords_are_known(const struct imap *im, const struct flag_set *flags)
{
    const struct view_info *info = view_info(im->view);

    for (size_t i = 0, k; i < flags->keywords_count; i++) {
        for (k = 0; k < info->keywords_count; k++)
            if (info->keywords[k] != NULL &&
                strcasecmp(info->keywords[k], flags->keywords[i]) == 0)
                break;
        if (k == info->keywords_count)
            return false;
    }
    return true;
}

static void
tell_keywords(struct imap *im, const struct store_request *rq)
{
    if (rq->op != STORE_REMOVE && !im->logout && !keywords_are_known(im, &rq->flags))
        imap_send_changes(im, im->parse.uid);
}

struct telling {
    struct imap *im;
    const struct store_request *rq;
};

static void
tell(void *ctx, const struct view_stored *stored, size_t count)
{
    const struct telling *t = ctx;

    tell_keywords(t->im, t->rq);
    if (!t->im->logout)
        imap_send_stored(t->im, stored, count, t->im->parse.uid);
}

static struct reply
store(struct imap *im, const struct seqset *uids, const struct store_request *rq)
{
    struct telling t = {.im = im, .rq = rq};
    struct reply r = reply_ok("STORE completed");
    struct seqset gone;
    int err;

    seqset_init(&gone);
    err = view_store_tell(im->view, uids, rq->op, &rq->flags, rq->silent ? NULL : tell, &t,
                          &gone);
    if (err == 0) {
        tell_keywords(im, rq);
        if (gone.count > 0 && !im->parse.uid)
            r = reply_no("[EXPUNGEISSUED] Some of the messages were expunged meanwhile");
    } else if (err == ERR_LIMIT) {
        r = reply_no("[LIMIT] The mailbox has no room for another keyword");
    } else {
        r = reply_err(err);
    }
    seqset_free(&gone);
    return r;
}

struct reply
cmd_store(struct imap *im)
{
    struct store_request rq = {0};
    struct seqset uids;
    struct reply r;
    int err;

    if (im->parse.args == NULL)
        return reply_bad("STORE needs messages, an item and flags");
    err = read_request(im, im->parse.args->next, &rq);
    if (err == ERR_LIMIT)
        return reply_no("[LIMIT] Too many flags");
    if (err != 0)
        return reply_bad("STORE needs messages, an item and flags");
    if (view_info(im->view)->readonly)
        return reply_err(ERR_READONLY);
    seqset_init(&uids);
    err = imap_read_set(im, im->parse.args, im->parse.uid, &uids);
    if (err != 0)
        r = reply_err(err);
    else
        r = uids.count > 0 ? store(im, &uids, &rq) : reply_ok("No such messages");
    seqset_free(&uids);
    return r;
}

/* The EXPUNGE responses come with the changes of the view, at the command's end. */
struct reply
cmd_expunge(struct imap *im)
{
    const struct token *arg = im->parse.args;
    struct seqset uids;
    int err = 0;

    if (im->parse.uid != (arg != NULL) || (arg != NULL && arg->next != NULL))
        return reply_bad("EXPUNGE has no arguments, UID EXPUNGE a set of UIDs");
    if (view_info(im->view)->readonly)
        return reply_err(ERR_READONLY);
    seqset_init(&uids);
    if (im->parse.uid)
        err = imap_read_set(im, arg, true, &uids);
    if (err == 0 && (!im->parse.uid || uids.count > 0))
        err = view_expunge(im->view, im->parse.uid ? &uids : NULL, false, NULL);
    seqset_free(&uids);
    return err == 0 ? reply_ok("EXPUNGE completed") : reply_err(err);
}

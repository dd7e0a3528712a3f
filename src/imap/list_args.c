/*
 * The arguments of LIST and LSUB: RFC 3501 6.3.8, 6.3.9, LIST-EXTENDED (RFC 5258 3 and 6),
 * LIST-STATUS (RFC 5819), SPECIAL-USE (RFC 6154 2).
 */
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "imap/list.h"

#define PATTERNS_MAX 64

static const char bad_arguments[] = "LIST needs a reference and a pattern";
static const char bad_option[] = "Unknown option of LIST";

/* "(SUBSCRIBED RECURSIVEMATCH)" before the reference. */
static const char *
read_selection(const struct token *list, struct list_request *rq)
{
    for (const struct token *t = list->list; t != NULL; t = t->next) {
        if (token_is_atom(t, "SUBSCRIBED"))
            rq->select_subscribed = rq->show_subscribed = true;
        else if (token_is_atom(t, "SPECIAL-USE"))
            rq->select_special = rq->show_special = true;
        else if (token_is_atom(t, "RECURSIVEMATCH"))
            rq->recursive = true;
        else if (!token_is_atom(t, "REMOTE")) /* there are no remote mailboxes */
            return bad_option;
    }
    if (rq->recursive && !rq->select_subscribed) /* RFC 5258 6: needs a base option */
        return "RECURSIVEMATCH needs SUBSCRIBED";
    return NULL;
}

/* "RETURN (CHILDREN STATUS (MESSAGES))" at the end. */
static const char *
read_return(struct imap *im, const struct token *t, struct list_request *rq)
{
    if (!token_is_atom(t, "RETURN") || t->next == NULL || t->next->type != TOKEN_LIST ||
        t->next->next != NULL)
        return bad_arguments;
    for (t = t->next->list; t != NULL; t = t->next) {
        if (token_is_atom(t, "SUBSCRIBED")) {
            rq->show_subscribed = true;
        } else if (token_is_atom(t, "CHILDREN")) {
            rq->show_children = true;
        } else if (token_is_atom(t, "SPECIAL-USE")) {
            rq->show_special = true;
        } else if (token_is_atom(t, "STATUS") &&
                   imap_read_status_items(im, t->next, &rq->status) == 0) {
            t = t->next;
        } else {
            return bad_option;
        }
    }
    return NULL;
}

/* The canonical pattern: reference and pattern are joined as they are. A separator at the end,
   which some clients send, asks for the name before it. */
static void
add_pattern(struct imap *im, const struct token *t, struct list_request *rq)
{
    char separator = account_names(im->s->account)->separator;
    char *whole;
    size_t n;

    if (t->len == 0 && (rq->extended || rq->lsub))
        return;
    whole = arena_printf(im->arena, "%s%s", rq->reference, t->text);
    n = strlen(whole);
    if (n > 1 && whole[n - 1] == separator && t->len > 0)
        whole[n - 1] = '\0';
    rq->patterns[rq->patterns_count++] = whole;
}

static const char *
read_patterns(struct imap *im, const struct token *t, struct list_request *rq)
{
    bool many = t->type == TOKEN_LIST;
    const struct token *first = many ? t->list : t;

    if (many && (first == NULL || token_count(first) > PATTERNS_MAX))
        return first == NULL ? bad_arguments : "Too many patterns";
    rq->patterns = arena_calloc(im->arena, PATTERNS_MAX, sizeof *rq->patterns);
    for (const struct token *p = first; p != NULL; p = many ? p->next : NULL) {
        if (!token_is_astring(p))
            return bad_arguments;
        add_pattern(im, p, rq);
    }
    return NULL;
}

static const char *
read_list(struct imap *im, const struct token *t, struct list_request *rq)
{
    const char *fault = NULL;

    if (t != NULL && t->type == TOKEN_LIST) {
        rq->extended = true;
        fault = read_selection(t, rq);
        t = t->next;
    }
    if (fault != NULL)
        return fault;
    if (!token_is_astring(t) || t->next == NULL)
        return bad_arguments;
    rq->reference = t->text;
    t = t->next;
    rq->extended = rq->extended || t->type == TOKEN_LIST || t->next != NULL;
    if (t->next != NULL)
        fault = read_return(im, t->next, rq);
    if (!rq->extended) /* what a plain LIST tells besides (RFC 3348, RFC 6154 2) */
        rq->show_children = rq->show_special = true;
    return fault != NULL ? fault : read_patterns(im, t, rq);
}

const char *
list_read_args(struct imap *im, struct list_request *rq)
{
    const struct token *t = im->parse.args;

    if (!rq->lsub)
        return read_list(im, t, rq);
    if (!token_is_astring(t) || !token_is_astring(t->next) || t->next->next != NULL)
        return "LSUB needs a reference and a pattern";
    rq->reference = t->text;
    rq->select_subscribed = true;
    return read_patterns(im, t->next, rq);
}

/*
 * LIST and LSUB (RFC 3501 6.3.8, 6.3.9; RFC 5258, 3348, 5819, 6154) and NAMESPACE (RFC 2342).
 *
 * The folders become nodes with the client's names, each knowing its parent. Whether a node is
 * told follows RFC 5258 3.3: it matches a pattern, and
 *   - it meets the selection criteria (exists; or is subscribed, has a special use), or
 *   - it doesn't, but a node below it does that matches no pattern. Then it's told with
 *     CHILDINFO if RECURSIVEMATCH was given; in a plain LIST as \NonExistent (\Noselect towards
 *     clients that used no extended syntax); in LSUB as \Noselect (RFC 3501 6.3.9).
 * So nothing is told about a missing parent whose children are told themselves.
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "imap/list.h"
#include "store/folders.h"

#define LINE_MAX_OCTETS 16384
#define STATUS_AT_ONCE  256 /* folders */

struct node {
    const char *name;     /* the client's */
    const char *internal; /* NULL: only a part of the namespace's prefix */
    struct node *parent;
    bool exists, subscribed;
    uint32_t special_use;
    bool meets;                                     /* the selection criteria */
    bool matches;                                   /* a pattern */
    bool child_exists, child_meets, child_unlisted; /* any node below; unlisted: meets, but
                                                       matches no pattern */
};

struct tree {
    struct imap *im;
    const struct list_request *rq;
    const struct mboxname_rules *rules;
    struct node *nodes; /* INBOX is the first */
    size_t count;
    struct node **by_name; /* sorted, each name once */
    size_t sorted;
    struct mailbox_answer *answers; /* STATUS_AT_ONCE */
};

static bool
matches_any(const struct tree *t, const char *name)
{
    for (size_t i = 0; i < t->rq->patterns_count; i++)
        if (mboxname_match(t->rq->patterns[i], name, t->rules->separator) & MATCH_YES)
            return true;
    return false;
}

static struct node *
add_node(struct tree *t, const char *name, const struct folder *f)
{
    const struct list_request *rq = t->rq;
    struct node *n = &t->nodes[t->count++];

    n->name = name;
    if (f != NULL) {
        n->internal = f->name;
        n->exists = f->exists;
        n->subscribed = f->subscribed;
        n->special_use = f->special_use;
    }
    n->meets = (rq->select_subscribed || rq->select_special || n->exists) &&
               (!rq->select_subscribed || n->subscribed) &&
               (!rq->select_special || n->special_use != 0);
    n->matches = matches_any(t, name);
    return n;
}

static int
by_name(const void *a, const void *b)
{
    const struct node *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

static struct node *
find(const struct tree *t, const char *name)
{
    const struct node key = {.name = name}, *p = &key;
    struct node **hit = bsearch(&p, t->by_name, t->sorted, sizeof *t->by_name, by_name);

    return hit != NULL ? *hit : NULL;
}

static struct node *
find_parent(const struct tree *t, const struct node *n)
{
    const char *end = strrchr(n->name, t->rules->separator);

    if (end == NULL || end == n->name)
        return NULL;
    return find(t, arena_memdup(t->im->arena, n->name, (size_t)(end - n->name)));
}

/* Parents that the store doesn't list: of subscribed names that don't exist, and the levels of
   a prefix such as "Mail.", which are no folders. May be found more than once. */
static void
add_missing_parents(struct tree *t, size_t folders)
{
    for (size_t i = 0; i < folders; i++) {
        const char *name = t->nodes[i].name, *p = name;

        while ((p = strchr(p + 1, t->rules->separator)) != NULL) {
            char *level = arena_memdup(t->im->arena, name, (size_t)(p - name));

            if (find(t, level) == NULL)
                add_node(t, level, NULL);
        }
    }
}

static size_t
count(const char *text, char c)
{
    size_t n = 0;

    for (const char *p = text; (p = strchr(p, c)) != NULL; p++)
        n++;
    return n;
}

/* How many nodes these folders can have, with all their parents. */
static size_t
nodes_max(const struct tree *t, const struct folder_list *folders)
{
    size_t n = 0, above = 1 + count(t->rules->prefix, t->rules->separator);

    for (size_t i = 0; i < folders->count; i++)
        n += above + count(folders->items[i].name, '.');
    return n;
}

/* By name, each once. */
static void
sort_nodes(struct tree *t)
{
    size_t n = 0;

    t->by_name = arena_calloc(t->im->arena, t->count + 1, sizeof(struct node *));
    for (size_t i = 0; i < t->count; i++)
        t->by_name[i] = &t->nodes[i];
    qsort(t->by_name, t->count, sizeof(struct node *), by_name);
    for (size_t i = 0; i < t->count; i++)
        if (i == 0 || strcmp(t->by_name[i]->name, t->by_name[n - 1]->name) != 0)
            t->by_name[n++] = t->by_name[i];
    t->sorted = n;
}

/* Tells every ancestor what is below it. */
static void
tell_ancestors(const struct node *n)
{
    bool unlisted = n->meets && !n->matches;

    for (struct node *p = n->parent; p != NULL; p = p->parent) {
        if (p->child_exists >= n->exists && p->child_meets >= n->meets &&
            p->child_unlisted >= unlisted)
            return; /* then those above know too */
        p->child_exists |= n->exists;
        p->child_meets |= n->meets;
        p->child_unlisted |= unlisted;
    }
}

static void
build(struct tree *t, const struct folder_list *folders)
{
    struct buf name = BUF_INIT(8 * MBOXNAME_MAX);

    t->nodes = arena_calloc(t->im->arena, nodes_max(t, folders) + 1, sizeof *t->nodes);
    for (size_t i = 0; i < folders->count; i++) {
        buf_reset(&name);
        mboxname_to_client(t->rules, folders->items[i].name, &name);
        add_node(t, arena_memdup(t->im->arena, buf_str(&name), name.len), &folders->items[i]);
    }
    buf_free(&name);
    sort_nodes(t);
    add_missing_parents(t, folders->count);
    if (t->count > folders->count)
        sort_nodes(t);
    for (size_t i = 0; i < t->sorted; i++)
        t->by_name[i]->parent = find_parent(t, t->by_name[i]);
    for (size_t i = 0; i < t->sorted; i++)
        tell_ancestors(t->by_name[i]);
}

static bool
is_told(const struct tree *t, const struct node *n)
{
    const struct list_request *rq = t->rq;

    if (!n->matches)
        return false;
    if (n->meets)
        return true;
    if (rq->recursive)
        return n->child_meets;
    if (!rq->lsub && (rq->select_subscribed || rq->select_special))
        return false;
    return n->child_unlisted;
}

static void
add_attribute(struct buf *b, const char *attribute)
{
    if (b->data[b->len - 1] != '(')
        buf_addc(b, ' ');
    buf_adds(b, attribute);
}

static void
add_attributes(const struct tree *t, const struct node *n, bool selectable, struct buf *b)
{
    const struct list_request *rq = t->rq;

    if (rq->lsub) {
        if (!n->meets)
            add_attribute(b, "\\Noselect");
        return;
    }
    if (!n->exists)
        add_attribute(b, rq->extended ? "\\NonExistent" : "\\Noselect");
    else if (!selectable)
        add_attribute(b, "\\Noselect");
    if (rq->show_subscribed && n->subscribed)
        add_attribute(b, "\\Subscribed");
    /* RFC 5258 3.5, Note: so a client learns why a missing one is told */
    if (rq->show_children || (!n->exists && n->child_exists && !rq->recursive))
        add_attribute(b, n->child_exists ? "\\HasChildren" : "\\HasNoChildren");
    for (uint32_t bit = 1; rq->show_special && bit != 0 && bit <= n->special_use; bit <<= 1)
        if ((n->special_use & bit) && special_use_name(bit) != NULL)
            add_attribute(b, special_use_name(bit));
}

/* `answer`: of its STATUS, or NULL. */
static void
tell(const struct tree *t, const struct node *n, const struct mailbox_answer *answer,
     struct buf *line, struct buf *status)
{
    const struct list_request *rq = t->rq;
    bool selectable = true;

    buf_reset(line);
    buf_reset(status);
    if (answer != NULL) /* RFC 5819 2: first, it may fail */
        selectable = answer->err == 0 && imap_write_status(t->im, n->internal, rq->status,
                                                           &answer->status, status) == 0;
    buf_adds(line, rq->lsub ? "* LSUB (" : "* LIST (");
    add_attributes(t, n, selectable, line);
    buf_adds(line, ") \"");
    buf_addc(line, t->rules->separator);
    buf_adds(line, "\" ");
    imap_write_astring(line, n->name, strlen(n->name));
    if (rq->recursive && n->child_meets)
        buf_adds(line, " (\"CHILDINFO\" (\"SUBSCRIBED\"))");
    buf_adds(line, "\r\n");
    stream_write(t->im->out, line->data, line->len);
    if (status->len > 0)
        stream_write(t->im->out, status->data, status->len);
}

/* Those that are told, in their order: INBOX, then by name. */
static struct node **
collect_told(const struct tree *t, size_t *count)
{
    struct node **told = arena_calloc(t->im->arena, t->sorted + 1, sizeof(struct node *));

    *count = 0;
    if (is_told(t, &t->nodes[0]))
        told[(*count)++] = &t->nodes[0];
    for (size_t i = 0; i < t->sorted; i++)
        if (t->by_name[i] != &t->nodes[0] && is_told(t, t->by_name[i]))
            told[(*count)++] = t->by_name[i];
    return told;
}

/* With the STATUS of each, if it's asked for. */
static void
tell_some(const struct tree *t, struct node *const *nodes, size_t count, struct buf *line,
          struct buf *status)
{
    struct mailbox_answer *answers = t->answers;
    size_t asked = 0, next = 0;

    for (size_t i = 0; i < count && t->rq->status != 0; i++)
        if (nodes[i]->exists && nodes[i]->meets)
            answers[asked++].name = nodes[i]->internal;
    mailbox_statuses(t->im->s->account, imap_status_needs_size(t->rq->status), answers, asked);
    for (size_t i = 0; i < count && stream_error(t->im->out) == 0; i++) {
        bool is_next = next < asked && nodes[i]->internal == answers[next].name;

        tell(t, nodes[i], is_next ? &answers[next] : NULL, line, status);
        next += is_next;
    }
}

/* LIST with an empty pattern: the separator, and the root of the reference. */
static void
tell_root(struct imap *im, const struct list_request *rq)
{
    const struct mboxname_rules *rules = account_names(im->s->account);
    size_t n = strlen(rules->prefix);
    bool below = n > 0 && strncmp(rq->reference, rules->prefix, n) == 0;

    stream_printf(im->out, "* %s (\\Noselect) \"%c\" \"%s\"\r\n", rq->lsub ? "LSUB" : "LIST",
                  rules->separator, below ? rules->prefix : "");
}

static struct reply
list(struct imap *im, struct list_request *rq, const char *done)
{
    const char *fault = list_read_args(im, rq);
    struct buf line = BUF_INIT(LINE_MAX_OCTETS), status = BUF_INIT(LINE_MAX_OCTETS);
    struct folder_list folders;
    struct tree t = {.im = im, .rq = rq};
    struct node **told;
    size_t count, n;
    int err;

    if (fault != NULL)
        return reply_bad(fault);
    if (!rq->extended && im->parse.args->next->len == 0) {
        tell_root(im, rq);
        return reply_ok(done);
    }
    t.rules = account_names(im->s->account);
    err = folder_list(im->s->account, &folders);
    if (err != 0)
        return reply_err(err);
    build(&t, &folders);
    told = collect_told(&t, &count);
    t.answers = arena_calloc(im->arena, STATUS_AT_ONCE, sizeof *t.answers);
    for (size_t i = 0; i < count && stream_error(im->out) == 0; i += n) {
        n = count - i < STATUS_AT_ONCE ? count - i : STATUS_AT_ONCE;
        tell_some(&t, told + i, n, &line, &status);
    }
    buf_free(&line);
    buf_free(&status);
    folder_list_free(&folders);
    return reply_ok(done);
}

struct reply
cmd_list(struct imap *im)
{
    struct list_request rq = {.lsub = false};

    return list(im, &rq, "LIST completed");
}

struct reply
cmd_lsub(struct imap *im)
{
    struct list_request rq = {.lsub = true};

    return list(im, &rq, "LSUB completed");
}

struct reply
cmd_namespace(struct imap *im)
{
    const struct mboxname_rules *rules = account_names(im->s->account);

    stream_printf(im->out, "* NAMESPACE ((\"%s\" \"%c\")) NIL NIL\r\n", rules->prefix,
                  rules->separator);
    return reply_ok("NAMESPACE completed");
}

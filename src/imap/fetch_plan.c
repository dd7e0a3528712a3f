/*
 * The arguments of FETCH (RFC 3501 6.4.5, grammar in 9: fetch-att, section): read once into a
 * plan, which every message of the command is then written by.
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "format/header.h"
#include "imap/fetch.h"

#define ITEMS_MAX   1024 /* as asked; a macro gives up to four */
#define MACRO_ITEMS 5
#define NUMBERS_MAX 128 /* part numbers of a section */
#define LABEL_MAX   262144

/*
 * The fields that clients ask for when they list a mailbox: Thunderbird, mutt and neomutt,
 * Apple Mail, alpine, K-9, Roundcube, mbsync, Gnus. They are cached together at the first
 * request for any of them, about 700 octets a message. Large ones that few ask for
 * (DKIM-Signature, Received) aren't worth their space.
 */
static const char *const frequent_names[] = {
    "Bcc",
    "Bimi-Location",
    "Cc",
    "Chat-Version",
    "Content-Class",
    "Content-Description",
    "Content-Disposition",
    "Content-Language",
    "Content-Location",
    "Content-MD5",
    "Content-Transfer-Encoding",
    "Content-Type",
    "Date",
    "Disposition-Notification-To",
    "Followup-To",
    "From",
    "Importance",
    "In-Reply-To",
    "Lines",
    "List-Id",
    "List-Post",
    "List-Subscribe",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "Mail-Followup-To",
    "Mail-Reply-To",
    "Message-ID",
    "MIME-Version",
    "Newsgroups",
    "Organization",
    "Path",
    "Priority",
    "References",
    "Reply-To",
    "Sender",
    "Subject",
    "To",
    "User-Agent",
    "X-Draft-Info",
    "X-K9mail-Identity",
    "X-Label",
    "X-Mailer",
    "X-Priority",
    "X-TUID",
    "X-Uniform-Type-Identifier",
    "X-Universally-Unique-Identifier",
    "Xref",
};
#define FREQUENT_COUNT (sizeof frequent_names / sizeof frequent_names[0])

bool
fetch_is_frequent(const char *name)
{
    for (size_t i = 0; i < FREQUENT_COUNT; i++)
        if (strcasecmp(name, frequent_names[i]) == 0)
            return true;
    return false;
}

void
fetch_select_frequent(const char *block, size_t len, struct buf *out)
{
    header_select(block, len, frequent_names, FREQUENT_COUNT, false, out);
}

/* Items that are one word. */
static const struct simple {
    const char *name;
    enum fetch_kind kind;
    enum fetch_section section;
    unsigned want;
    bool sets_seen;
} simple_items[] = {
    {"FLAGS", FETCH_FLAGS, 0, 0, false},
    {"UID", FETCH_UID, 0, 0, false},
    {"INTERNALDATE", FETCH_INTERNALDATE, 0, WANT_DATE, false},
    {"RFC822.SIZE", FETCH_SIZE, 0, WANT_CRLF_SIZE, false},
    {"ENVELOPE", FETCH_ENVELOPE, 0, WANT_CACHE, false},
    {"BODY", FETCH_BODY, 0, WANT_CACHE, false},
    {"BODYSTRUCTURE", FETCH_BODYSTRUCTURE, 0, WANT_CACHE, false},
    {"RFC822", FETCH_SECTION, SECTION_ALL, WANT_CRLF_SIZE, true},
    {"RFC822.HEADER", FETCH_SECTION, SECTION_HEADER, 0, false},
    {"RFC822.TEXT", FETCH_SECTION, SECTION_TEXT, WANT_CRLF_SIZE, true},
};

static const struct {
    const char *name;
    const char *items[6];
} macros[] = {
    {"ALL", {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", NULL}},
    {"FAST", {"FLAGS", "INTERNALDATE", "RFC822.SIZE", NULL}},
    {"FULL", {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY", NULL}},
};

/* There is room: fetch_plan_read() counted. */
static struct fetch_item *
add_item(struct fetch_plan *plan)
{
    return &plan->items[plan->count++];
}

static int
add_simple(struct imap *im, const char *name, struct fetch_plan *plan)
{
    const struct simple *s = simple_items;
    struct fetch_item *item;

    while (strcasecmp(s->name, name) != 0)
        if (++s == simple_items + sizeof simple_items / sizeof simple_items[0])
            return ERR_SYNTAX;
    item = add_item(plan);
    item->kind = s->kind;
    item->section = s->section;
    item->label = arena_printf(im->arena, "%s ", s->name);
    item->label_len = strlen(item->label);
    plan->want |= s->want;
    plan->sets_seen = plan->sets_seen || s->sets_seen;
    plan->has_flags = plan->has_flags || s->kind == FETCH_FLAGS;
    return 0;
}

/* "1.2.3" and the dot behind it; *text moves to what follows. */
static int
read_path(struct imap *im, const char **text, struct fetch_item *item)
{
    uint32_t path[NUMBERS_MAX];
    const char *p = *text;
    size_t n = 0;
    uint64_t number;

    while (isdigit((unsigned char)*p)) {
        for (number = 0; isdigit((unsigned char)*p) && number <= UINT32_MAX; p++)
            number = number * 10 + (uint64_t)(*p - '0');
        if (number == 0 || number > UINT32_MAX || n == NUMBERS_MAX)
            return ERR_SYNTAX;
        path[n++] = (uint32_t)number;
        if (*p == '\0')
            break;
        if (*p != '.' || p[1] == '\0')
            return ERR_SYNTAX;
        p++;
    }
    *text = p;
    item->path_len = n;
    if (n > 0)
        item->path =
            (const uint32_t *)(const void *)arena_memdup(im->arena, path, n * sizeof path[0]);
    return 0;
}

static int
read_field_names(struct imap *im, const struct token *t, struct fetch_item *item)
{
    const struct token *name;
    const char **names;
    size_t n = 0;

    if (t == NULL || t->type != TOKEN_LIST || t->list == NULL || t->next != NULL)
        return ERR_SYNTAX;
    names = arena_calloc(im->arena, token_count(t->list), sizeof *names);
    item->frequent = item->section == SECTION_FIELDS && item->path_len == 0;
    for (name = t->list; name != NULL; name = name->next) {
        if (!token_is_astring(name))
            return ERR_SYNTAX;
        item->frequent = item->frequent && fetch_is_frequent(name->text);
        names[n++] = name->text;
    }
    item->names = names;
    item->names_count = n;
    return 0;
}

/* What stands between [ and ]. */
static int
read_section(struct imap *im, const struct token *t, struct fetch_item *item)
{
    const char *text;
    int err;

    if (t == NULL)
        return 0;
    if (t->type != TOKEN_ATOM)
        return ERR_SYNTAX;
    text = t->text;
    err = read_path(im, &text, item);
    if (err != 0)
        return err;
    if (strcasecmp(text, "HEADER.FIELDS") == 0 || strcasecmp(text, "HEADER.FIELDS.NOT") == 0) {
        item->section = text[13] == '\0' ? SECTION_FIELDS : SECTION_FIELDS_NOT;
        return read_field_names(im, t->next, item);
    }
    if (*text == '\0')
        item->section = SECTION_ALL;
    else if (strcasecmp(text, "HEADER") == 0)
        item->section = SECTION_HEADER;
    else if (strcasecmp(text, "TEXT") == 0)
        item->section = SECTION_TEXT;
    else if (strcasecmp(text, "MIME") == 0 && item->path_len > 0)
        item->section = SECTION_MIME;
    else
        return ERR_SYNTAX;
    return t->next == NULL ? 0 : ERR_SYNTAX;
}

/* "0.1024" (RFC 3501 9: partial; the count isn't 0). */
static int
read_partial(const char *text, struct fetch_item *item)
{
    uint64_t n[2] = {0, 0};
    const char *p = text;

    for (int i = 0; i < 2; i++) {
        if (!isdigit((unsigned char)*p))
            return ERR_SYNTAX;
        for (; isdigit((unsigned char)*p); p++) {
            if (n[i] > UINT64_C(1) << 56)
                return ERR_SYNTAX;
            n[i] = n[i] * 10 + (uint64_t)(*p - '0');
        }
        if (*p != (i == 0 ? '.' : '\0'))
            return ERR_SYNTAX;
        p++;
    }
    if (n[1] == 0)
        return ERR_SYNTAX;
    item->partial = true;
    item->skip = n[0];
    item->count = n[1];
    return 0;
}

/* The response's name: what was asked, in upper case, without PEEK, with only the origin of a
   partial (RFC 3501 7.4.2). */
static int
make_label(struct imap *im, struct fetch_item *item)
{
    static const char *const words[] = {"",     "HEADER", "HEADER.FIELDS", "HEADER.FIELDS.NOT",
                                        "TEXT", "MIME"};
    struct buf b = BUF_INIT(LABEL_MAX);
    size_t i;
    int err = ERR_LIMIT;

    buf_adds(&b, "BODY[");
    for (i = 0; i < item->path_len; i++) {
        buf_adds(&b, i > 0 ? "." : "");
        buf_addu(&b, item->path[i]);
    }
    if (item->path_len > 0 && item->section != SECTION_ALL)
        buf_addc(&b, '.');
    buf_adds(&b, words[item->section]);
    for (i = 0; i < item->names_count; i++) {
        buf_adds(&b, i == 0 ? " (" : " ");
        imap_write_astring(&b, item->names[i], strlen(item->names[i]));
    }
    buf_adds(&b, item->names_count > 0 ? ")]" : "]");
    if (item->partial)
        buf_addf(&b, "<%llu>", (unsigned long long)item->skip);
    buf_addc(&b, ' ');
    if (buf_ok(&b)) {
        item->label = arena_memdup(im->arena, b.data, b.len);
        item->label_len = b.len;
        err = 0;
    }
    buf_free(&b);
    return err;
}

static int
add_section(struct imap *im, const struct token *t, struct fetch_plan *plan)
{
    struct fetch_item *item = add_item(plan);
    bool peek = strcasecmp(t->text, "BODY.PEEK") == 0;
    int err;

    if (!peek && strcasecmp(t->text, "BODY") != 0)
        return ERR_SYNTAX;
    item->kind = FETCH_SECTION;
    err = read_section(im, t->list, item);
    if (err == 0 && t->partial != NULL)
        err = read_partial(t->partial, item);
    if (err != 0)
        return err;
    plan->sets_seen = plan->sets_seen || !peek;
    if (item->path_len == 0 && (item->section == SECTION_ALL || item->section == SECTION_TEXT))
        plan->want |= WANT_CRLF_SIZE;
    if (item->path_len > 0 || item->frequent)
        plan->want |= WANT_CACHE;
    return make_label(im, item);
}

static int
add_token(struct imap *im, const struct token *t, struct fetch_plan *plan)
{
    int err = 0;

    if (t->type == TOKEN_SECTION)
        return add_section(im, t, plan);
    if (t->type != TOKEN_ATOM)
        return ERR_SYNTAX;
    for (size_t i = 0; i < sizeof macros / sizeof macros[0]; i++) {
        if (strcasecmp(t->text, macros[i].name) != 0)
            continue;
        for (size_t j = 0; err == 0 && macros[i].items[j] != NULL; j++)
            err = add_simple(im, macros[i].items[j], plan);
        return err;
    }
    return add_simple(im, t->text, plan);
}

/* UID FETCH answers with the UID, asked for or not (RFC 3501 6.4.8). */
static bool
needs_uid(const struct imap *im, const struct token *t)
{
    for (; t != NULL; t = t->next)
        if (token_is_atom(t, "UID"))
            return false;
    return im->parse.uid;
}

int
fetch_plan_read(struct imap *im, const struct token *t, struct fetch_plan *plan)
{
    size_t n = 1;
    int err = 0;

    memset(plan, 0, sizeof *plan);
    if (t == NULL || t->next != NULL)
        return ERR_SYNTAX;
    if (t->type == TOKEN_LIST) {
        t = t->list;
        n = token_count(t);
    }
    if (t == NULL)
        return ERR_SYNTAX;
    if (n > ITEMS_MAX)
        return ERR_LIMIT;
    plan->items = arena_calloc(im->arena, n * MACRO_ITEMS + 1, sizeof *plan->items);
    if (needs_uid(im, t))
        err = add_simple(im, "UID", plan);
    for (; err == 0 && t != NULL; t = t->next)
        err = add_token(im, t, plan);
    return err;
}

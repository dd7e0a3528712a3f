/*
 * Checks that concern more than one key. A fault is reported at the line that set one of them,
 * the later one if both were set.
 */
#include <string.h>
#include <strings.h>

#include "base/conf_keys.h"

struct cross {
    const struct conf *conf;
    const struct conf_place *places;
    const char *main_file;
    conf_report *report;
    void *ctx;
    int errors;
};

/* Where key a or b was set. */
static struct conf_place
place_of(const struct cross *x, const char *a, const char *b)
{
    const struct conf_place *pa = &x->places[conf_row_find(a, strlen(a))];
    const struct conf_place *pb = b != NULL ? &x->places[conf_row_find(b, strlen(b))] : pa;
    struct conf_place place = pb->line > pa->line ? *pb : *pa;

    if (place.line == 0)
        place.file = x->main_file;
    return place;
}

static bool
is_default(const struct cross *x, const char *key)
{
    return x->places[conf_row_find(key, strlen(key))].line == 0;
}

static void __attribute__((format(printf, 4, 5)))
fault(struct cross *x, const char *a, const char *b, const char *fmt, ...)
{
    struct conf_place place = place_of(x, a, b);
    struct buf text = BUF_INIT(2048);
    va_list ap;

    va_start(ap, fmt);
    buf_vaddf(&text, fmt, ap);
    va_end(ap);
    if (strncmp(buf_str(&text), "warning: ", 9) != 0)
        x->errors++;
    x->report(x->ctx, place.file, place.line, buf_str(&text));
    buf_free(&text);
}

static void
check_pool(struct cross *x, const char *protocol, const struct conf_pool *pool)
{
    char min[32], max[32], all[32];

    snprintf(min, sizeof min, "%s_min_spare", protocol);
    snprintf(max, sizeof max, "%s_max_spare", protocol);
    snprintf(all, sizeof all, "%s_max_workers", protocol);
    if (pool->min_spare > pool->max_spare)
        fault(x, min, max, "%s (%u) is above %s (%u): lower it, or raise %s", min,
              pool->min_spare, max, pool->max_spare, max);
    if (pool->max_spare > pool->max_workers)
        fault(x, max, all, "%s (%u) is above %s (%u): lower it, or raise %s", max,
              pool->max_spare, all, pool->max_workers, all);
}

static void
check_listeners(struct cross *x)
{
    const struct conf *c = x->conf;

    if (c->imap_listen[0] == '\0' && c->imaps_listen[0] == '\0' && c->pop3_listen[0] == '\0' &&
        c->pop3s_listen[0] == '\0')
        fault(x, "imap_listen", NULL,
              "nothing is served: set imap_listen, imaps_listen, pop3_listen or pop3s_listen");
}

#define SELFSIGNED "set it to a file, such as one made by `mansioctl cert selfsigned`"

static void
check_tls(struct cross *x)
{
    static const char *const keys[] = {"imaps_listen", "pop3s_listen"};
    const char *lists[] = {x->conf->imaps_listen, x->conf->pop3s_listen};
    bool certificate = x->conf->tls_certificate[0] != '\0';
    bool key = x->conf->tls_key[0] != '\0';

    if (certificate && !key)
        fault(x, "tls_key", "tls_certificate",
              "tls_certificate is set but tls_key is empty: name the file of the certificate's "
              "private key (both may be in one file)");
    if (certificate)
        return;
    for (size_t i = 0; i < 2; i++)
        if (lists[i][0] != '\0')
            fault(x, keys[i], "tls_certificate",
                  "%s needs TLS, but tls_certificate is empty: " SELFSIGNED ", or set %s to "
                  "nothing (%s =)",
                  keys[i], keys[i], keys[i]);
    if (x->conf->login_security == LOGIN_SECURITY_TLS && lists[0][0] == '\0' &&
        lists[1][0] == '\0' && strstr(x->conf->imap_listen, "unix:") == NULL &&
        strstr(x->conf->pop3_listen, "unix:") == NULL)
        fault(x, "login_security", "tls_certificate",
              "nobody could log in: login_security = tls, but tls_certificate is "
              "empty: " SELFSIGNED
              ", or set login_security = any where passwords may travel in the "
              "clear");
}

static void
check_hashed(struct cross *x)
{
    if (x->conf->login_security != LOGIN_SECURITY_HASHED)
        return;
    fault(
        x, "login_security", "pop3_apop",
        "warning: login_security = hashed: without TLS nobody can log in %s; set it to tls to "
        "say so, or to any to allow readable passwords",
        x->conf->pop3_apop ? "but by POP3's APOP"
                           : "(pop3_apop is off, and there is no other such mechanism)");
}

static void
check_prefix(struct cross *x)
{
    const char *prefix = x->conf->namespace_prefix;
    char separator = x->conf->hierarchy_separator;
    size_t len = strlen(prefix);

    if (len == 0)
        return;
    if (prefix[len - 1] != separator || prefix[0] == separator || len == 1)
        fault(x, "namespace_prefix", "hierarchy_separator",
              "namespace_prefix \"%s\" must be a name and the hierarchy_separator, such as "
              "INBOX%c",
              prefix, separator);
}

/* The name's length in one item of auto_folders. */
static size_t
folder_name_len(const char *item, size_t len)
{
    const char *use = memchr(item, '\\', len);

    return use != NULL ? (size_t)(use - item) - 1 : len;
}

static void
check_folder_pair(struct cross *x, const char *a, size_t la, const char *b, size_t lb)
{
    size_t na = folder_name_len(a, la), nb = folder_name_len(b, lb);

    if (na == nb && memcmp(a, b, na) == 0)
        fault(x, "auto_folders", NULL, "auto_folders: \"%.*s\" is there twice: remove one",
              (int)na, a);
    else if (na < la && la - na == lb - nb && strncasecmp(a + na, b + nb, la - na) == 0)
        fault(x, "auto_folders", NULL,
              "auto_folders: \"%.*s\" and \"%.*s\" have the same use: take it from one",
              (int)la, a, (int)lb, b);
}

/* Empty levels, and a dot in a name when / separates (it can't be kept in Maildir++). */
static void
check_folder_name(struct cross *x, const char *name, size_t len)
{
    char separator = x->conf->hierarchy_separator;

    if (separator == '/' && memchr(name, '.', len) != NULL)
        fault(x, "auto_folders", "hierarchy_separator",
              "auto_folders: \"%.*s\": a folder's name can't contain a dot while "
              "hierarchy_separator is /",
              (int)len, name);
    if (separator == '.' && memchr(name, '/', len) != NULL)
        fault(x, "auto_folders", "hierarchy_separator",
              "auto_folders: \"%.*s\": write . between levels, as hierarchy_separator says",
              (int)len, name);
    for (size_t i = 0; i < len; i++)
        if (name[i] == separator && (i == 0 || i + 1 == len || name[i + 1] == separator)) {
            fault(x, "auto_folders", "hierarchy_separator",
                  "auto_folders: \"%.*s\" has a level without a name", (int)len, name);
            return;
        }
}

static void
check_folders(struct cross *x)
{
    const char *pos = x->conf->auto_folders, *rest, *a, *b;
    size_t la, lb;

    while ((a = conf_list_next(&pos, &la)) != NULL) {
        check_folder_name(x, a, folder_name_len(a, la));
        for (rest = pos; (b = conf_list_next(&rest, &lb)) != NULL;)
            check_folder_pair(x, a, la, b, lb);
    }
}

static void
check_limits(struct cross *x)
{
    const struct conf *c = x->conf;

    if (c->login_max_line > c->max_line)
        fault(x, "login_max_line", "max_line",
              "login_max_line (%u) is above max_line (%zu): lower it, or raise max_line",
              c->login_max_line, c->max_line);
    if (c->max_arguments < c->max_line)
        fault(x, "max_arguments", "max_line",
              "max_arguments (%zu) is below max_line (%zu): raise it, or lower max_line",
              c->max_arguments, c->max_line);
}

static void
check_advice(struct cross *x)
{
    const struct conf *c = x->conf;

    if (!is_default(x, "imap_idle_timeout") && c->imap_idle_timeout < 30 * 60)
        fault(x, "imap_idle_timeout", NULL,
              "warning: imap_idle_timeout is below 30m, which RFC 3501 5.4 asks for: clients "
              "lose connections they count on");
    if (!is_default(x, "pop3_idle_timeout") && c->pop3_idle_timeout < 10 * 60)
        fault(
            x, "pop3_idle_timeout", NULL,
            "warning: pop3_idle_timeout is below 10m, which RFC 1939 3 asks for: clients lose "
            "connections they count on");
    if (strstr(c->pop3_uidl_format, "v") == NULL)
        fault(x, "pop3_uidl_format", NULL,
              "warning: pop3_uidl_format has no %%v: after a mailbox was rebuilt, clients "
              "may take a new message for one they have; put %%v into it");
}

int
conf_cross_check(const struct conf *conf, const struct conf_place *places,
                 const char *main_file, conf_report *report, void *ctx)
{
    struct cross x = {
        .conf = conf, .places = places, .main_file = main_file, .report = report, .ctx = ctx};

    check_listeners(&x);
    check_tls(&x);
    check_hashed(&x);
    check_pool(&x, "imap", &conf->imap);
    check_pool(&x, "pop3", &conf->pop3);
    check_limits(&x);
    check_prefix(&x);
    check_folders(&x);
    check_advice(&x);
    return x.errors;
}

/*
 * Loading and checking everything that a start or a reload needs; see setup.h. Nothing here
 * changes the running server: master.c and reload.c swap setups when the new one is whole.
 *
 * Sockets that stay the same over a reload are recognised by the text of their item in the same
 * list and are shared, so there's no moment without a listener, and no connection waiting in a
 * backlog is lost. A socket that isn't wanted any more is ended by shutdown(2): workers of the
 * old generation that are still busy hold a copy of the descriptor, and would otherwise keep it
 * listening with nobody to accept.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "proc/setup.h"

struct reporter {
    conf_report *report;
    void *ctx;
    const char *file;
    bool failed;
};

static void __attribute__((format(printf, 2, 3)))
fault(struct reporter *r, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    r->failed = true;
    r->report(r->ctx, r->file, 0, text);
}

static const char *
list_of(const struct conf *conf, enum listen_kind kind)
{
    switch (kind) {
    case LISTEN_IMAP:
        return conf->imap_listen;
    case LISTEN_IMAPS:
        return conf->imaps_listen;
    case LISTEN_POP3:
        return conf->pop3_listen;
    default:
        return conf->pop3s_listen;
    }
}

static void
load_tls(struct setup *s, struct reporter *r)
{
    struct tls_error err = {.text = ""};
    char warning[512] = "";

    if (s->conf->tls_certificate[0] == '\0')
        return;
    if (tls_context_new(s->conf->tls_certificate, s->conf->tls_key, s->conf->tls_priority, &err,
                        warning, sizeof warning, &s->tls) != 0) {
        struct stat st;

        if (stat(s->conf->tls_certificate, &st) < 0 && errno == ENOENT)
            fault(r,
                  "%s; make one with \"mansioctl cert selfsigned\", or set tls_certificate and "
                  "tls_key to yours, or to nothing for a server without TLS",
                  err.text);
        else
            fault(r, "%s", err.text);
    } else if (warning[0] != '\0') {
        char text[600];

        snprintf(text, sizeof text, "warning: %s", warning);
        r->report(r->ctx, r->file, 0, text);
    }
}

/* The ids of mail_user and auth_user. Only root can become somebody. */
static void
load_ids(struct setup *s, struct reporter *r)
{
    s->mail_uid = s->auth_uid = geteuid();
    s->mail_gid = s->auth_gid = getegid();
    if (geteuid() != 0)
        return;
    if (conf_user_ids(s->conf->mail_user, &s->mail_uid, &s->mail_gid) != 0)
        fault(r,
              "mail_user: there is no user %s; make one (adduser --system --group %s) or set "
              "mail_user to the owner of the mail",
              s->conf->mail_user, s->conf->mail_user);
    else if (s->mail_uid == 0)
        fault(r, "mail_user: mail can't belong to root; set it to an account of its own");
    if (conf_user_ids(s->conf->auth_user, &s->auth_uid, &s->auth_gid) != 0)
        fault(r, "auth_user: there is no user %s; set it to root or an existing account",
              s->conf->auth_user);
}

static void
check_user_db(struct setup *s, struct reporter *r)
{
    const char *path = s->conf->user_db;
    struct stat st;

    if (strncmp(path, "file:", 5) != 0)
        return;
    path += 5;
    if (stat(path, &st) < 0)
        fault(r, "user_db: %s: %s; make the first user with \"mansioctl user add NAME\"", path,
              strerror(errno));
    else if (!S_ISREG(st.st_mode))
        fault(r, "user_db: %s isn't a file", path);
    else if (geteuid() != 0 && access(path, R_OK) != 0)
        fault(r, "user_db: %s can't be read: %s", path, strerror(errno));
}

int
setup_load(const char *file, conf_report *report, void *ctx, struct setup **out)
{
    struct reporter r = {.report = report, .ctx = ctx, .file = file};
    struct setup *s;
    struct conf *conf;

    *out = NULL;
    if (conf_load(file, report, ctx, &conf) != 0)
        return ERR_CONFIG;
    s = mem_calloc(1, sizeof *s);
    s->conf = conf;
    load_tls(s, &r);
    load_ids(s, &r);
    check_user_db(s, &r);
    if (r.failed) {
        setup_abandon(&s);
        return ERR_CONFIG;
    }
    *out = s;
    return 0;
}

/* Shares the sockets of `old` that came from the same item. True if there were any. */
static bool
adopt(struct setup *s, const struct setup *old, enum listen_kind kind, const char *item)
{
    bool found = false;

    for (size_t i = 0; old != NULL && i < old->bound_count; i++) {
        if (old->bound[i].kind != kind || strcmp(old->bound[i].item, item) != 0 ||
            s->bound_count == SETUP_BOUND_MAX)
            continue;
        s->bound[s->bound_count] = old->bound[i];
        s->bound[s->bound_count++].adopted = true;
        found = true;
    }
    return found;
}

static int
bind_item(struct setup *s, enum listen_kind kind, const char *item, struct reporter *r)
{
    struct listener opened[LISTENER_MAX];
    char text[512] = "";
    int n = listener_open(item, opened, text, sizeof text);

    if (n < 0) {
        fault(r, "%s", text);
        return n;
    }
    for (int i = 0; i < n; i++) {
        struct bound *b;

        if (s->bound_count == SETUP_BOUND_MAX) {
            listener_close(opened + i, (size_t)(n - i));
            fault(r, "%s: too many listening sockets; name fewer addresses", item);
            return ERR_CONFIG;
        }
        b = &s->bound[s->bound_count++];
        b->listener = opened[i];
        b->kind = kind;
        b->adopted = false;
        snprintf(b->item, sizeof b->item, "%s", item);
    }
    return 0;
}

int
setup_bind(struct setup *s, const struct setup *old, conf_report *report, void *ctx)
{
    struct reporter r = {.report = report, .ctx = ctx, .file = "listen"};
    int result = 0;

    for (enum listen_kind kind = LISTEN_IMAP; kind < LISTEN_KINDS; kind++) {
        const char *pos = list_of(s->conf, kind), *start;
        size_t len;

        while ((start = conf_list_next(&pos, &len)) != NULL) {
            char item[160];
            int n;

            if (len >= sizeof item) {
                fault(&r, "%.40s...: address too long", start);
                result = ERR_CONFIG;
                continue;
            }
            memcpy(item, start, len);
            item[len] = '\0';
            if (adopt(s, old, kind, item))
                continue;
            n = bind_item(s, kind, item, &r);
            if (n < 0)
                result = n;
        }
    }
    return result;
}

static void
setup_free(struct setup **s)
{
    tls_context_free(&(*s)->tls);
    conf_free(&(*s)->conf);
    free(*s);
    *s = NULL;
}

void
setup_abandon(struct setup **s)
{
    if (*s == NULL)
        return;
    for (size_t i = 0; i < (*s)->bound_count; i++)
        if (!(*s)->bound[i].adopted)
            listener_close(&(*s)->bound[i].listener, 1);
    setup_free(s);
}

static bool
shares(const struct setup *next, int fd)
{
    for (size_t i = 0; next != NULL && i < next->bound_count; i++)
        if (next->bound[i].listener.fd == fd)
            return true;
    return false;
}

void
setup_retire(struct setup **s, const struct setup *next)
{
    if (*s == NULL)
        return;
    for (size_t i = 0; i < (*s)->bound_count; i++) {
        struct listener *l = &(*s)->bound[i].listener;

        if (shares(next, l->fd))
            continue;
        shutdown(l->fd, SHUT_RDWR);
        listener_close(l, 1);
    }
    setup_free(s);
}

bool
setup_listens(const struct setup *s, enum listen_kind plain, enum listen_kind tls)
{
    return list_of(s->conf, plain)[0] != '\0' || list_of(s->conf, tls)[0] != '\0';
}

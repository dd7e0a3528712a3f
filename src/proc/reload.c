/*
 * SIGHUP and `mansioctl reload`. Everything is read, checked and bound first; only then does
 * anything change. A fault leaves the server as it was, and is logged with file and line.
 *
 * When the new setup is whole: the log is directed to where it says, the generation goes up (so
 * idle workers end, and busy ones after their connection), new workers are forked, and what no
 * longer listens is closed. The auth process is replaced when a value it works from changed:
 * otherwise it reads its users file again and keeps its counts and delays.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/heap.h"
#include "base/log.h"
#include "proc/master.h"
#include "proc/notify.h"

struct reload_report {
    struct buf *answer; /* NULL: only the log */
};

void
report_to_log(void *ctx, const char *file, int line, const char *text)
{
    (void)ctx;
    if (strncmp(text, "warning: ", 9) == 0)
        log_warn("%s%s%s", file, line > 0 ? ":" : ": ", text + 9);
    else if (line > 0)
        log_error("%s:%d: %s", file, line, text);
    else
        log_error("%s: %s", file, text);
}

static void
report(void *ctx, const char *file, int line, const char *text)
{
    struct reload_report *r = ctx;

    report_to_log(NULL, file, line, text);
    if (r->answer == NULL)
        return;
    if (line > 0)
        buf_addf(r->answer, "* %s:%d: %s\n", file, line, text);
    else
        buf_addf(r->answer, "* %s: %s\n", file, text);
}

/* Values that can't change while the master runs keep what they were. */
static void
keep(char **value, const char *old, const char *name)
{
    if (strcmp(*value, old) == 0)
        return;
    log_warn("%s can't change by a reload: stop and start for %s", name, *value);
    free(*value);
    *value = mem_strdup(old);
}

static bool
same_auth(const struct setup *a, const struct setup *b)
{
    const struct conf *x = a->conf, *y = b->conf;

    return strcmp(x->user_db, y->user_db) == 0 &&
           strcmp(x->denied_users, y->denied_users) == 0 &&
           strcmp(x->username_default_domain, y->username_default_domain) == 0 &&
           x->username_lowercase == y->username_lowercase &&
           x->auth_workers == y->auth_workers &&
           x->max_connections_per_user == y->max_connections_per_user &&
           x->login_failure_delay == y->login_failure_delay && a->auth_uid == b->auth_uid &&
           a->auth_gid == b->auth_gid && a->mail_uid == b->mail_uid &&
           strcmp(x->log, y->log) == 0 && strcmp(x->log_level, y->log_level) == 0;
}

static void
reload_auth(struct master *m, bool same)
{
    pid_t old = m->auth_pid;
    struct child *c;

    if (old == 0)
        return;
    if (same) {
        c = child_find(m, old);
        if (c != NULL)
            c->generation = m->generation;
        kill(old, SIGHUP);
        return;
    }
    m->auth_pid = 0;
    service_maintain(m, &m->services[CHILD_AUTH], false); /* the new one accepts already */
    kill(old, SIGTERM);
}

static void
retire_workers(struct master *m)
{
    for (size_t i = 0; i < m->slots_used; i++) {
        struct child *c = &m->children[i];

        if (c->pid != 0 && c->kind < POOLS && !c->leaving)
            child_retire(m, c);
    }
}

static int
load(struct master *m, struct reload_report *r, struct setup **out)
{
    struct setup *s;
    int err = setup_load(m->conf_file, report, r, &s);

    if (err != 0)
        return err;
    keep(&s->conf->run_dir, m->setup->conf->run_dir, "run_dir");
    keep(&s->conf->pid_file, m->setup->conf->pid_file, "pid_file");
    err = setup_bind(s, m->setup, report, r);
    if (err != 0) {
        report(
            r, m->conf_file, 0,
            "an address that the server has already (as *:143 has 127.0.0.1:143) is free only "
            "after a restart");
    } else if (master_open_log(m, s->conf) != 0) {
        report(r, m->conf_file, 0, "the log can't be opened; correct `log`");
        err = ERR_CONFIG;
    }
    if (err != 0)
        setup_abandon(&s);
    else
        *out = s;
    return err;
}

int
master_reload(struct master *m, struct buf *answer)
{
    struct reload_report r = {.answer = answer};
    struct setup *old = m->setup, *new;
    bool same;
    int err;

    notify_reloading();
    heap_unpack();
    err = load(m, &r, &new);
    if (err != 0) {
        heap_pack();
        log_error("%s can't be used: the configuration from before stays", m->conf_file);
        notify_ready();
        return err;
    }
    same = same_auth(old, new);
    m->setup = new;
    m->generation++;
    services_configure(m);
    master_give_files(m);
    retire_workers(m);
    reload_auth(m, same);
    setup_retire(&old, new);
    heap_pack();
    services_start(m);
    log_info("configuration loaded again, generation %u", m->generation);
    notify_ready();
    return 0;
}

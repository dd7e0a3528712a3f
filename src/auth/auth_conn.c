/*
 * One connection of a worker to the auth process: a request is read, waits for its slot after
 * failures, has its password tried, and is answered. After a login the connection stays open
 * without a word until the session ends: that is how open logins are counted. A lookup, for a
 * delivery, is answered at once.
 *
 * The request is separate from its connection and freed (wiped) with the answer, so that an
 * open login costs a few dozen octets; and it outlives a connection that is closed while the
 * password is tried, so that hanging up doesn't save anybody the penalty.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "auth/auth_conn.h"
#include "auth/password.h"
#include "base/arena.h"
#include "base/log.h"
#include "base/sys.h"

enum stage { STAGE_READING, STAGE_WAITING, STAGE_REFUSED, STAGE_HASHING };

struct auth_request_state {
    struct timer timer; /* first: auth_timer_due() gets its address */
    struct hash_job job;
    struct auth_server *server;
    struct auth_conn *conn; /* NULL: closed */
    struct auth_request_state *next, *previous;
    struct penalty_slot slot;
    enum stage stage;
    size_t have; /* octets of rq */
    struct auth_request rq;
    struct auth_answer an;
    struct auth_verdict verdict;
};

struct auth_conn {
    struct watch watch; /* first */
    struct auth_server *server;
    struct auth_conn *next, *previous;
    int fd;
    struct auth_request_state *request; /* NULL once answered */
    struct count *count;                /* of an open login */
};

static void
request_free(struct auth_request_state *r)
{
    struct auth_server *s = r->server;

    timer_clear(&s->timers, &r->timer);
    if (r->conn != NULL)
        r->conn->request = NULL;
    if (r->previous != NULL)
        r->previous->next = r->next;
    else
        s->requests = r->next;
    if (r->next != NULL)
        r->next->previous = r->previous;
    secret_wipe(r, sizeof *r);
    free(r);
}

/* The connection has gone: an attempt that nobody looked at is forgotten, one whose password is
   being tried goes on to its outcome. */
static void
abandon(struct auth_request_state *r)
{
    r->conn = NULL;
    if (r->stage == STAGE_WAITING)
        penalty_cancel(r->server->penalty, &r->slot, sys_monotonic_ms());
    if (r->stage != STAGE_HASHING)
        request_free(r);
}

static void
conn_close(struct auth_conn *c)
{
    struct auth_server *s = c->server;

    if (c->request != NULL)
        abandon(c->request);
    count_drop(s->counts, &c->count);
    if (c->previous != NULL)
        c->previous->next = c->next;
    else
        s->conns = c->next;
    if (c->next != NULL)
        c->next->previous = c->previous;
    close(c->fd); /* and so out of the epoll set */
    free(c);
}

/* Sends the answer. Everything but a login ends the connection. */
static void
answer(struct auth_request_state *r, enum auth_status status, const char *reason)
{
    struct auth_conn *c = r->conn;
    bool sent, login = status == AUTH_OK && r->rq.magic == AUTH_MAGIC;

    if (status != AUTH_OK)
        memset(&r->an, 0, sizeof r->an);
    r->an.magic = AUTH_MAGIC;
    r->an.status = status;
    snprintf(r->an.reason, sizeof r->an.reason, "%s", reason);
    sent = send(c->fd, &r->an, sizeof r->an, MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof r->an;
    request_free(r);
    if (!login || !sent)
        conn_close(c);
}

static const char *
failure_reason(const struct auth_verdict *v, bool right)
{
    if (v->refusal == NULL || (v->password_counts && !right))
        return "wrong password";
    return v->refusal;
}

/* The password was tried. A refused user's right password counts as a failure, or the growing
   delay would tell that it's right. */
static void
finish(struct auth_request_state *r, bool right)
{
    struct auth_server *s = r->server;
    bool ok = right && r->verdict.refusal == NULL;

    penalty_result(s->penalty, &r->slot, ok, sys_monotonic_ms());
    if (r->conn == NULL) {
        request_free(r);
        return;
    }
    if (!ok) {
        answer(r, AUTH_FAILED, failure_reason(&r->verdict, right));
        return;
    }
    r->conn->count =
        count_take(s->counts, r->rq.user, r->rq.address, s->conf->max_connections_per_user);
    if (r->conn->count == NULL)
        answer(r, AUTH_TOO_MANY, "too many connections");
    else
        answer(r, AUTH_OK, "");
}

static void
give_up(struct auth_request_state *r)
{
    penalty_cancel(r->server->penalty, &r->slot, sys_monotonic_ms());
    if (r->conn == NULL)
        request_free(r);
    else
        answer(r, AUTH_UNAVAILABLE, "password can't be checked now");
}

static void
hash_done(struct hash_job *job, enum hash_outcome outcome)
{
    struct auth_request_state *r =
        (struct auth_request_state *)(void *)((char *)job -
                                              offsetof(struct auth_request_state, job));

    if (outcome == HASH_BROKEN)
        give_up(r);
    else
        finish(r, outcome == HASH_RIGHT);
}

/* APOP (RFC 1939 7) needs the text of the password. All outcomes take one MD5. */
static void
try_apop(struct auth_request_state *r)
{
    const char *text = password_plain_text(r->verdict.hash);
    bool right = password_apop(text != NULL ? text : "-", r->rq.challenge, r->rq.password,
                               strlen(r->rq.password));

    if (text == NULL) {
        r->verdict.refusal = "APOP needs a {PLAIN} password";
        r->verdict.password_counts = false;
    }
    finish(r, right && text != NULL);
}

/* The slot has come: looks the user up and tries the password. */
static void
try_password(struct auth_request_state *r)
{
    struct auth_server *s = r->server;
    size_t len = strlen(r->rq.password);

    auth_check_refresh(&s->check);
    auth_check_user(&s->check, &r->rq, &r->verdict, &r->an);
    if (strcasecmp(r->rq.mechanism, "APOP") == 0) {
        try_apop(r);
        return;
    }
    if (!password_is_slow(r->verdict.hash)) {
        finish(r, password_verify(r->verdict.hash, r->rq.password, len));
        return;
    }
    r->stage = STAGE_HASHING;
    r->job.hash = r->verdict.hash;
    r->job.password = r->rq.password;
    r->job.password_len = len;
    r->job.done = hash_done;
    timer_set(&s->timers, &r->timer, sys_monotonic_ms() + AUTH_HASH_MS);
    hash_submit(s->pool, &r->job);
}

static bool
is_text(const char *s, size_t size)
{
    return memchr(s, '\0', size) != NULL;
}

static bool
is_good_request(const struct auth_request *rq)
{
    return (rq->magic == AUTH_MAGIC || rq->magic == AUTH_MAGIC_LOOKUP) &&
           is_text(rq->service, sizeof rq->service) &&
           is_text(rq->mechanism, sizeof rq->mechanism) && is_text(rq->user, sizeof rq->user) &&
           is_text(rq->password, sizeof rq->password) &&
           is_text(rq->challenge, sizeof rq->challenge) &&
           is_text(rq->address, sizeof rq->address) && is_text(rq->session, sizeof rq->session);
}

/* Where a delivery goes. Nothing to guess, so nothing to delay. A file without users is more
   likely one that is being written than a reason to send everybody's mail back. */
static void
look_up(struct auth_request_state *r)
{
    auth_check_refresh(&r->server->check);
    if (users_file_count(r->server->check.users) == 0)
        answer(r, AUTH_UNAVAILABLE, "no users at all");
    else if (auth_check_lookup(&r->server->check, r->rq.user, &r->an))
        answer(r, AUTH_OK, "");
    else
        answer(r, AUTH_FAILED, "unknown user");
}

/* The request is whole. */
static void
admit(struct auth_request_state *r)
{
    struct auth_server *s = r->server;
    int64_t now = sys_monotonic_ms(), wait;

    if (!is_good_request(&r->rq)) {
        log_error("a worker's request makes no sense: is it of another version?");
        conn_close(r->conn);
        return;
    }
    if (r->rq.magic == AUTH_MAGIC_LOOKUP) {
        look_up(r);
        return;
    }
    wait = penalty_admit(s->penalty, r->rq.user, r->rq.address, now, &r->slot);
    if (wait == 0) {
        timer_clear(&s->timers, &r->timer);
        try_password(r);
    } else if (wait > 0) {
        r->stage = STAGE_WAITING;
        timer_set(&s->timers, &r->timer, now + wait);
    } else {
        r->stage = STAGE_REFUSED;
        timer_set(&s->timers, &r->timer, now + AUTH_REFUSED_MS);
    }
}

void
auth_timer_due(struct auth_server *s, struct timer *timer)
{
    struct auth_request_state *r = (struct auth_request_state *)timer;

    timer_clear(&s->timers, timer);
    switch (r->stage) {
    case STAGE_READING:
        conn_close(r->conn);
        return;
    case STAGE_WAITING:
        try_password(r);
        return;
    case STAGE_REFUSED:
        answer(r, AUTH_UNAVAILABLE, "too many failures");
        return;
    case STAGE_HASHING:
        log_error("a password took longer than %d s to check: raise auth_workers?",
                  AUTH_HASH_MS / 1000);
        hash_cancel(s->pool, &r->job);
        give_up(r);
        return;
    }
}

static void
conn_ready(struct watch *w, uint32_t events)
{
    struct auth_conn *c = (struct auth_conn *)w;
    struct auth_request_state *r = c->request;
    ssize_t n;
    char extra;

    (void)events;
    if (r == NULL || r->stage != STAGE_READING) {
        /* end of the session, or something nobody should send */
        n = recv(c->fd, &extra, 1, MSG_DONTWAIT);
        if (n >= 0 || (errno != EAGAIN && errno != EINTR))
            conn_close(c);
        return;
    }
    n = recv(c->fd, (char *)&r->rq + r->have, sizeof r->rq - r->have, MSG_DONTWAIT);
    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR))
            conn_close(c);
        return;
    }
    r->have += (size_t)n;
    if (r->have == sizeof r->rq)
        admit(r);
}

/* Only who could be a worker: root, our own user, the owner of the mail. */
static bool
may_ask(const struct auth_server *s, int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0) {
        log_error("can't tell who asks: %s", strerror(errno));
        return false;
    }
    if (peer.uid == 0 || peer.uid == geteuid() || peer.uid == s->mail_uid)
        return true;
    log_warn("process %ld of user %lu asked the auth process: refused", (long)peer.pid,
             (unsigned long)peer.uid);
    return false;
}

void
auth_conn_new(struct auth_server *s, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    struct auth_request_state *r;
    struct auth_conn *c;

    if (!may_ask(s, fd)) {
        close(fd);
        return;
    }
    c = mem_calloc(1, sizeof *c);
    r = mem_calloc(1, sizeof *r);
    c->watch.ready = conn_ready;
    c->server = r->server = s;
    c->fd = fd;
    c->request = r;
    r->conn = c;
    c->next = s->conns;
    if (s->conns != NULL)
        s->conns->previous = c;
    s->conns = c;
    r->next = s->requests;
    if (s->requests != NULL)
        s->requests->previous = r;
    s->requests = r;
    timer_set(&s->timers, &r->timer, sys_monotonic_ms() + AUTH_REQUEST_MS);
    event.data.ptr = &c->watch;
    if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        log_error("epoll_ctl: %s", strerror(errno));
        conn_close(c);
        return;
    }
    conn_ready(&c->watch, EPOLLIN); /* as a rule the request is there already */
}

void
auth_conns_free(struct auth_server *s)
{
    while (s->conns != NULL)
        conn_close(s->conns);
    while (s->requests != NULL) {
        if (s->requests->stage == STAGE_HASHING)
            hash_cancel(s->pool, &s->requests->job);
        request_free(s->requests);
    }
}

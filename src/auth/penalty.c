/*
 * Delays after failed logins; see penalty.h.
 *
 * A key is a user, a network, or a user in a network. For each there are the failures since the
 * last quiet hour, the attempts under way, and when the next attempt may be looked at. An
 * attempt waits until all its keys allow it, and moves their next times on by their delay: so
 * attempts made at once form a queue, and a queue longer than the longest delay refuses. Before
 * any failure PENALTY_FREE attempts may be under way at once; each further one counts as a
 * failure that hasn't come back yet.
 *
 * Which keys an attempt has: after a success of this user from this network (remembered for a
 * week) only the pair of both; otherwise user and network. So nobody is locked out of his own
 * mail by strangers, and a stranger never gets the pair's freedom.
 *
 * Memory is a fixed table of sets of eight; a new key takes the place of the set's least
 * valuable one. The hash is keyed by random octets, so sets can't be filled on purpose.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "auth/nets.h"
#include "auth/penalty.h"
#include "base/arena.h"
#include "base/sys.h"

#define SETS         2048 /* power of two */
#define WAYS         8
#define QUIET_MS     (3600 * INT64_C(1000))
#define TRUST_MS     (7 * 24 * 3600 * INT64_C(1000))
#define USER_CAP_MS  60000
#define NET_CAP_MS   15000
#define FAILURES_MAX 1000000

struct entry {
    uint64_t key;       /* 0 = free */
    int64_t next_ms;    /* no attempt is looked at before */
    int64_t last_ms;    /* of the last attempt or outcome */
    int64_t trusted_ms; /* of the last success, pairs only; 0 = none */
    unsigned failures, under_way;
};

struct penalty {
    int64_t base_ms;
    uint64_t seed[2];
    struct entry entries[SETS][WAYS];
};

/* The keys of one attempt. */
struct keys {
    struct entry *e[2];
    int64_t cap[2];
    int n;
};

struct penalty *
penalty_new(unsigned base_delay_s)
{
    struct penalty *p = mem_calloc(1, sizeof *p);

    p->base_ms = (int64_t)base_delay_s * 1000;
    sys_random(p->seed, sizeof p->seed);
    return p;
}

void
penalty_free(struct penalty **p)
{
    free(*p);
    *p = NULL;
}

static uint64_t
mix(uint64_t h)
{
    h ^= h >> 32;
    h *= UINT64_C(0xd6e8feb86659fd93);
    h ^= h >> 32;
    h *= UINT64_C(0xd6e8feb86659fd93);
    return h ^ h >> 32;
}

static uint64_t
hash_text(uint64_t h, const char *s)
{
    for (; *s != '\0'; s++)
        h = mix(h ^ (unsigned char)*s);
    return mix(h ^ 0x100);
}

/* kind: 'u' user, 'n' network, 'p' pair. */
static uint64_t
hash_key(const struct penalty *p, char kind, const char *a, const char *b)
{
    uint64_t h = mix(p->seed[0] ^ (unsigned char)kind);

    h = hash_text(hash_text(h, a), b) ^ p->seed[1];
    h = mix(h);
    return h != 0 ? h : 1;
}

static void
forget_old(struct entry *e, int64_t now)
{
    if (e->last_ms + QUIET_MS < now) {
        e->failures = 0;
        e->under_way = 0; /* whatever was, is over */
        e->next_ms = 0;
    }
    if (e->trusted_ms != 0 && e->trusted_ms + TRUST_MS < now)
        e->trusted_ms = 0;
}

/* How much would be lost with it: trust and failures before mere presence, then age. */
static bool
is_worth_less(const struct entry *a, const struct entry *b)
{
    int wa = a->key == 0 ? 0 : a->under_way > 0 ? 3 : a->failures > 0 || a->trusted_ms ? 2 : 1;
    int wb = b->key == 0 ? 0 : b->under_way > 0 ? 3 : b->failures > 0 || b->trusted_ms ? 2 : 1;

    return wa != wb ? wa < wb : a->last_ms < b->last_ms;
}

static struct entry *
lookup(struct penalty *p, uint64_t key, bool make, int64_t now)
{
    struct entry *set = p->entries[key % SETS], *least = &set[0];

    for (int i = 0; i < WAYS; i++) {
        if (set[i].key == key) {
            forget_old(&set[i], now);
            return &set[i];
        }
        if (is_worth_less(&set[i], least))
            least = &set[i];
    }
    if (!make)
        return NULL;
    memset(least, 0, sizeof *least);
    least->key = key;
    least->last_ms = now;
    return least;
}

static bool
is_trusted(const struct entry *pair)
{
    return pair != NULL && pair->trusted_ms != 0;
}

/* The entries that count for the attempt. */
static struct keys
keys_of(struct penalty *p, const struct penalty_slot *slot, int64_t now)
{
    struct keys k = {.n = 0};

    k.cap[0] = USER_CAP_MS;
    k.e[k.n++] = lookup(p, slot->known ? slot->pair : slot->user, true, now);
    if (!slot->known && slot->net != 0) {
        k.cap[k.n] = NET_CAP_MS;
        k.e[k.n++] = lookup(p, slot->net, true, now);
    }
    return k;
}

static int64_t
delay_of(const struct penalty *p, unsigned failures, int64_t cap)
{
    int64_t delay = p->base_ms;

    if (failures == 0)
        return 0;
    while (--failures > 0 && delay < cap)
        delay += delay;
    return delay < cap ? delay : cap;
}

/* Failures, and attempts under way beyond the free ones. */
static unsigned
weight(const struct entry *e)
{
    unsigned extra = e->under_way > PENALTY_FREE ? e->under_way - PENALTY_FREE : 0;

    return e->failures + extra;
}

static void
fill_slot(struct penalty *p, const char *user, const char *address, int64_t now,
          struct penalty_slot *slot)
{
    char net[NET_KEY_SIZE] = "local";
    bool remote = net_key(address, net);

    slot->user = hash_key(p, 'u', user, "");
    slot->net = remote ? hash_key(p, 'n', net, "") : 0;
    slot->pair = hash_key(p, 'p', user, net);
    slot->known = is_trusted(lookup(p, slot->pair, false, now));
}

int64_t
penalty_admit(struct penalty *p, const char *user, const char *address, int64_t now_ms,
              struct penalty_slot *slot)
{
    struct keys k;
    int64_t start = now_ms;

    memset(slot, 0, sizeof *slot);
    if (p->base_ms == 0)
        return 0;
    fill_slot(p, user, address, now_ms, slot);
    k = keys_of(p, slot, now_ms);
    for (int i = 0; i < k.n; i++)
        if (k.e[i]->next_ms > start)
            start = k.e[i]->next_ms;
    if (start > now_ms + USER_CAP_MS)
        return -1;
    for (int i = 0; i < k.n; i++) {
        k.e[i]->under_way++;
        k.e[i]->last_ms = start;
        slot->before[i] = k.e[i]->next_ms;
        if (weight(k.e[i]) > 0)
            k.e[i]->next_ms = start + delay_of(p, weight(k.e[i]), k.cap[i]);
        slot->after[i] = k.e[i]->next_ms;
    }
    return start - now_ms;
}

static void
arrived(struct entry *e, int64_t now)
{
    if (e->under_way > 0)
        e->under_way--;
    if (e->last_ms < now)
        e->last_ms = now;
}

static void
failure(const struct penalty *p, struct entry *e, int64_t cap, int64_t now)
{
    int64_t next;

    if (e->failures < FAILURES_MAX)
        e->failures++;
    next = now + delay_of(p, weight(e), cap);
    if (e->next_ms < next)
        e->next_ms = next;
}

/* A success of somebody who wasn't known here yet speaks for the network. Later ones don't: who
   has one account could clear the count again and again while he guesses at others. */
static void
halve_network(struct penalty *p, uint64_t net, int64_t now)
{
    struct entry *e = lookup(p, net, false, now);

    if (e == NULL)
        return;
    e->failures /= 2;
    if (e->failures == 0)
        e->next_ms = 0;
}

/* The user is known here from now on; what was counted against him is void. */
static void
success(struct penalty *p, const struct penalty_slot *slot, int64_t now)
{
    struct entry *e = lookup(p, slot->user, false, now);

    if (e != NULL) {
        e->failures = 0;
        e->next_ms = 0;
    }
    e = lookup(p, slot->pair, true, now);
    if (slot->net != 0 && !is_trusted(e))
        halve_network(p, slot->net, now);
    e->failures = 0;
    e->next_ms = 0;
    e->trusted_ms = now != 0 ? now : 1;
    e->last_ms = now;
}

void
penalty_result(struct penalty *p, const struct penalty_slot *slot, bool ok, int64_t now_ms)
{
    struct keys k;

    if (p->base_ms == 0)
        return;
    k = keys_of(p, slot, now_ms);
    for (int i = 0; i < k.n; i++) {
        arrived(k.e[i], now_ms);
        if (!ok)
            failure(p, k.e[i], k.cap[i], now_ms);
    }
    if (ok)
        success(p, slot, now_ms);
}

void
penalty_cancel(struct penalty *p, const struct penalty_slot *slot, int64_t now_ms)
{
    struct keys k;

    if (p->base_ms == 0)
        return;
    k = keys_of(p, slot, now_ms);
    for (int i = 0; i < k.n; i++) {
        arrived(k.e[i], now_ms);
        if (k.e[i]->next_ms == slot->after[i])
            k.e[i]->next_ms = slot->before[i];
    }
}

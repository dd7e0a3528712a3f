/*
 * Growing delay after failed logins, per user and per network (/32 IPv4, /64 IPv6), in bounded
 * memory. Not bypassed by parallel connections: each attempt is given the next slot of its
 * keys, so n attempts at once are answered one after the other. Pure: time is given by the
 * caller.
 *
 * A user who logged in from a network before has a count of his own there: who guesses at his
 * password from elsewhere, or fails beside him behind the same address, doesn't slow him down.
 */
#ifndef AUTH_PENALTY_H
#define AUTH_PENALTY_H

#include <stdbool.h>
#include <stdint.h>

struct penalty;

/* One attempt, from its admission to its outcome. */
struct penalty_slot {
    uint64_t user, net, pair;    /* keys; net is 0 for "local" */
    bool known;                  /* the pair had a success before: only its own count matters */
    int64_t before[2], after[2]; /* when the next attempt might be looked at, by key */
};

/* Attempts that may be under way at once before there was any failure: a mail client opens
   several connections. */
#define PENALTY_FREE 10

/* The delay doubles a failure, up to 60 s by user and 15 s by network; it's forgotten after a
   quiet hour. 0 = no delays. */
struct penalty *penalty_new(unsigned base_delay_s);
void penalty_free(struct penalty **p);
/* How many milliseconds from now_ms an attempt of this user from this address must wait before
   it's looked at; reserves its slot. 0 = at once. -1: too many wait already, it must not be
   looked at, and there's no outcome to tell. */
int64_t penalty_admit(struct penalty *p, const char *user, const char *address, int64_t now_ms,
                      struct penalty_slot *slot);
/* The outcome of an attempt that was admitted. A success clears the user's count, not the
   network's (which halves, if the user wasn't known there). */
void penalty_result(struct penalty *p, const struct penalty_slot *slot, bool success,
                    int64_t now_ms);
/* It was admitted, but nobody looked at it: the client went away. The time that it was to wait
   is given back, if it was the last that waits. */
void penalty_cancel(struct penalty *p, const struct penalty_slot *slot, int64_t now_ms);

#endif

/*
 * Growing delay after failed logins, per user and per network (/32 IPv4, /64 IPv6), in bounded
 * memory. Not bypassed by parallel connections: each attempt is given the next slot of its
 * keys, so n attempts at once are answered one after the other. Pure: time is given by the
 * caller.
 */
#ifndef AUTH_PENALTY_H
#define AUTH_PENALTY_H

#include <stdint.h>

struct penalty;

struct penalty *
penalty_new(unsigned base_delay_s); /* doubles a failure, up to 60 s by user and 15 s by
                                       network; forgotten after a quiet hour */
void penalty_free(struct penalty **p);
/* How many milliseconds from now_ms an attempt of this user from this address must wait before
 * it's looked at; reserves its slot. 0 = at once. */
int64_t penalty_admit(struct penalty *p, const char *user, const char *address, int64_t now_ms);
/* The outcome of an attempt. A success clears the user's count, not the network's (which
 * halves). */
void penalty_result(struct penalty *p, const char *user, const char *address, int success,
                    int64_t now_ms);

#endif

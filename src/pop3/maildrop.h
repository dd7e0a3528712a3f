/*
 * The maildrop of one POP3 session (RFC 1939): the messages of INBOX as they were at the login,
 * under numbers that stay. Nothing that another session or program does changes a number;
 * messages that came later aren't seen, a message that has gone keeps its number.
 *
 * Everything is lazy: opening it reads one row of the index, however large the mailbox is.
 */
#ifndef POP3_MAILDROP_H
#define POP3_MAILDROP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/conf.h"
#include "store/view.h"

struct maildrop;

/* 0 or the store's error. */
int maildrop_open(struct account *a, struct maildrop **out);
void maildrop_close(struct maildrop **d);
/* The session will wait for long: gives back what is only there for speed. */
void maildrop_rest(struct maildrop *d);

uint32_t maildrop_count(const struct maildrop *d); /* messages, deleted ones included */
/* Messages that aren't marked as deleted and their octets on the wire. */
int maildrop_totals(struct maildrop *d, uint32_t *count, uint64_t *octets);

/* Marks (RFC 1939 5: DELE). n is 1 .. count everywhere. */
bool maildrop_is_deleted(const struct maildrop *d, uint32_t n);
void maildrop_delete(struct maildrop *d, uint32_t n);
void maildrop_reset(struct maildrop *d);
/* The UPDATE state: removes what is marked. */
int maildrop_update(struct maildrop *d);

/* What the index says about a message, valid until the next call. Reads ahead, so that one
   message after the other costs one read of the index for many. *m is NULL when the message has
   gone. */
int maildrop_find(struct maildrop *d, uint32_t n, const struct index_message **m);
/* Octets on the wire; 0 of a message that has gone. The first form reads one size, the second
   all of them, so that a list can't fail in its middle. */
int maildrop_size(struct maildrop *d, uint32_t n, uint64_t *octets);
int maildrop_load_sizes(struct maildrop *d);
/* A better size became known by reading the message. */
void maildrop_set_size(struct maildrop *d, uint32_t n, uint64_t octets);
/* The unique id, at most 70 octets (RFC 1939 7: UIDL). */
int maildrop_uidl(struct maildrop *d, uint32_t n, const char *format, char out[CONF_UIDL_SIZE]);
/* ERR_GONE if it has been removed. */
int maildrop_open_message(struct maildrop *d, uint32_t n, struct message **out);

#endif

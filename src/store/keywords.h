/*
 * Keywords of a mailbox: names and slots. Slots 0..25 are the letters a-z of file names; their
 * names are also in the folder's file `mansio-keywords` ("<0..25> <name>" lines), so that they
 * survive the index. Slots 26..63 are known to the index only.
 */
#ifndef STORE_KEYWORDS_H
#define STORE_KEYWORDS_H

#include "store/mailbox_private.h"

#define KEYWORDS_LETTER_MASK ((UINT64_C(1) << KEYWORDS_LETTERS) - 1)

/* 0, or ERR_CANNOT: not an atom (RFC 3501 9: flag-keyword), or over KEYWORD_NAME_MAX. */
int keyword_check(const char *name);
/* The slot, or -1. Case is ignored. */
int keyword_slot(const struct index_mailbox *row, const char *name);
/* Finds slots for the names, and makes those that are missing if `make`; names that aren't
   there and aren't made are left out. *bits: one bit a slot. Writes `mansio-keywords` when a
   letter got a name; changes the row, which the caller puts. ERR_LIMIT: no free slot.
   ERR_CANNOT. In a transaction. */
int keywords_bits(struct mailbox *m, const char *const *names, size_t count, bool make,
                  uint64_t *bits);
/* Is there a slot for one more? */
bool keywords_room(const struct index_mailbox *row);
/* Names the letters that have no name yet in the row, from `mansio-keywords`, and then from
   `dovecot-keywords`. */
void keywords_load(int fd, struct index_mailbox *row);
/* Letters were seen in file names: those without a name get one, from the file or "unknown-a".
   True if the row was changed. */
bool keywords_name_letters(struct mailbox *m, uint32_t letters);
/* Translates bits of one mailbox's slots into another's, by name; makes what's missing there;
   what finds no slot is dropped. In a transaction. */
uint64_t keywords_map(const struct index_mailbox *from, struct mailbox *to, uint64_t bits);

#endif

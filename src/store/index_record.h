/*
 * How rows and records lie in the index, octet by octet; see mansio-index(5). Pure functions
 * over bytes. Decoding checks every length; what doesn't fit is ERR_CORRUPT, never a crash.
 * Private to the index_*.c files.
 */
#ifndef STORE_INDEX_RECORD_H
#define STORE_INDEX_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "store/index.h"
#include "store/index_db.h"

#define INDEX_FORMAT     2   /* of the whole; in the control record */
#define RECORD_VERSION   1   /* first octet of every record */
#define INDEX_NAME_MAX   255 /* octets of a mailbox name in the index */
#define RECORD_MAX       (64u << 10)
#define CHANGE_PART_SIZE 1024 /* octets of UIDs in one change record */

/* Keys: be32 mailbox, be32 uid (messages, cache); be32 mailbox, be64 mod-sequence, kind, be16
   part (changes). */
#define KEY_MESSAGE_SIZE 8
#define KEY_CHANGE_SIZE  15
void key_message(unsigned char *key, uint32_t mailbox, uint32_t uid);
void key_change(unsigned char *key, uint32_t mailbox, uint64_t modseq, unsigned kind,
                unsigned part);
uint16_t be16_read(const unsigned char *p);
uint32_t be32_read(const unsigned char *p);
uint64_t be64_read(const unsigned char *p);

/* The one record of the account as a whole. */
struct index_control {
    uint8_t format;
    uint32_t next_id;
    uint32_t last_uidvalidity;
    uint64_t incarnation;
};
void control_encode(struct buf *out, const struct index_control *c);
int control_decode(struct kv_slice s, struct index_control *c);

void row_encode(struct buf *out, const struct index_mailbox *row);
int row_decode(struct kv_slice s, struct index_mailbox *row);

void message_encode(struct buf *out, const struct index_message *m);
/* uid comes from the key. */
int message_decode(struct kv_slice s, uint32_t uid, struct index_message *m);
/* Reads no further than the keywords; the check sum speaks for the rest. */
int message_decode_flags(struct kv_slice s, unsigned *flags, uint64_t *keywords);

/* The anchor of a mailbox in messages.db (uid 0): what's needed to keep the UIDs when
   mailboxes.db is lost. */
struct index_anchor {
    char name[INDEX_NAME_MAX + 1];
    struct index_mailbox row; /* id, uidvalidity, objectid, keywords; the rest zero */
};
void anchor_encode(struct buf *out, const char *name, const struct index_mailbox *row);
int anchor_decode(struct kv_slice s, uint32_t id, struct index_anchor *a);

/* UID ranges of a change record: each as distance from the former's end, and length. */
void ranges_add(struct buf *out, uint32_t *last, uint32_t first_uid, uint32_t last_uid);
/* Takes the next range off *s. 0, ERR_EOF, ERR_CORRUPT. */
int ranges_next(struct kv_slice *s, uint32_t *last, uint32_t *first_uid, uint32_t *last_uid);

#endif

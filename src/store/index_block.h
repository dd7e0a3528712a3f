/*
 * The records of messages in blocks of BLOCK_UIDS UIDs: how they lie in messages.db, and the
 * one that is being worked on. Private to the index_*.c files; see index_block.c.
 */
#ifndef STORE_INDEX_BLOCK_H
#define STORE_INDEX_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "store/index_db.h"

#define BLOCK_UIDS 8
#define BLOCK_MAX  (BLOCK_UIDS * 1024u) /* octets; a record takes 400 at most */

struct block {
    uint32_t mailbox, first;
    bool loaded, dirty;
    struct buf octets;
};

void block_init(struct block *b);
void block_free(struct block *b);
/* What's in memory is no longer wanted, or no longer true: at the end of a lock, and when a
   transaction is aborted. */
void block_forget(struct block *b);
/* Writes what waits: before a commit, and before messages.db is read without a block. */
int block_flush(struct block *b, struct kv *kv);

/* One record; `uid` isn't 0. Get: valid until the next call for this block. ERR_NOENT,
   ERR_CORRUPT. Put and delete: in a transaction. */
int block_get(struct block *b, struct kv *kv, uint32_t mailbox, uint32_t uid,
              struct kv_slice *record);
int block_put(struct block *b, struct kv *kv, uint32_t mailbox, uint32_t uid,
              struct kv_slice record);
int block_delete(struct block *b, struct kv *kv, uint32_t mailbox, uint32_t uid);

/* Key of the block that holds a UID (KEY_MESSAGE_SIZE octets). */
void block_key(unsigned char *key, uint32_t mailbox, uint32_t uid);
/* Takes the next record off a block's value whose first UID is `first`; *uid: the last one
   taken, at first 0. 0, ERR_EOF, ERR_CORRUPT. */
int block_next(struct kv_slice *rest, uint32_t first, uint32_t *uid, struct kv_slice *record);
/* Every record of a block. Non-zero from fn stops and is returned. ERR_CORRUPT: it's no block,
   or the rest of it makes no sense. */
typedef int block_fn(void *ctx, uint32_t uid, struct kv_slice record);
int block_each(struct kv_slice key, struct kv_slice value, block_fn *fn, void *ctx);

#endif

/*
 * The scoreboard; see scoreboard.h. Anonymous memory shared by master and workers; pages that
 * no slot of is used are never touched, so the size of the table costs address space only.
 *
 * Each slot has one writer. Its sequence word is odd while the writer is inside; a reader
 * copies the slot and takes the copy if the word was even and the same before and after. What a
 * slot holds is the word of a process that talks to the network: readers end its texts and
 * clean them, and take no decision from it.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "proc/scoreboard.h"

#define READ_TRIES 100

struct scoreboard {
    struct score *slots; /* mapped */
    size_t count;
};

struct scoreboard *
scoreboard_new(size_t slots)
{
    struct scoreboard *b = mem_calloc(1, sizeof *b);
    void *map;

    if (slots == 0 || slots > SIZE_MAX / sizeof *b->slots)
        log_panic("scoreboard_new: %zu slots", slots);
    map = mmap(NULL, slots * sizeof *b->slots, PROT_READ | PROT_WRITE,
               MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        log_fatal(75, "can't map the scoreboard of %zu slots: %s", slots, strerror(errno));
    b->slots = map;
    b->count = slots;
    return b;
}

void
scoreboard_free(struct scoreboard **b)
{
    if (*b == NULL)
        return;
    munmap((*b)->slots, (*b)->count * sizeof *(*b)->slots);
    free(*b);
    *b = NULL;
}

struct score *
scoreboard_slot(struct scoreboard *b, size_t i)
{
    if (i >= b->count)
        log_panic("scoreboard_slot: %zu of %zu", i, b->count);
    return &b->slots[i];
}

size_t
scoreboard_slots(const struct scoreboard *b)
{
    return b->count;
}

/* Columns are separated by blanks: only the last one, the command, may hold some itself. */
static void
clean(char *text, size_t size, unsigned char lowest)
{
    text[size - 1] = '\0';
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < lowest || *text == 0x7f)
            *text = '?';
}

static _Atomic uint32_t *
sequence_of(struct score *s)
{
    return (_Atomic uint32_t *)&s->sequence;
}

int
scoreboard_read(const struct scoreboard *b, size_t i, struct score *copy)
{
    struct score *s = scoreboard_slot((struct scoreboard *)b, i);
    uint32_t before, after;

    for (int tries = 0; tries < READ_TRIES; tries++) {
        before = atomic_load_explicit(sequence_of(s), memory_order_acquire);
        memcpy(copy, s, sizeof *copy);
        atomic_thread_fence(memory_order_acquire);
        after = atomic_load_explicit(sequence_of(s), memory_order_relaxed);
        if (before == after && before % 2 == 0) {
            clean(copy->user, sizeof copy->user, '!');
            clean(copy->peer, sizeof copy->peer, '!');
            clean(copy->command, sizeof copy->command, ' ');
            clean(copy->session, sizeof copy->session, '!');
            return 0;
        }
    }
    return ERR_TEMP;
}

void
score_begin(struct score *s)
{
    uint32_t now = atomic_load_explicit(sequence_of(s), memory_order_relaxed);

    /* A writer that was killed inside left it odd; the slot's next owner starts from there. */
    atomic_store_explicit(sequence_of(s), now | 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
}

void
score_end(struct score *s)
{
    uint32_t now = atomic_load_explicit(sequence_of(s), memory_order_relaxed);

    atomic_store_explicit(sequence_of(s), now + 1, memory_order_release);
}

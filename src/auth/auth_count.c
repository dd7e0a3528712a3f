/*
 * Counts of open logins; see auth_count.h. A table of chains that doubles when it's full.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "auth/auth_count.h"
#include "base/arena.h"
#include "base/sys.h"

#define FIRST_SIZE 256 /* power of two */

struct count {
    struct count *next;
    uint64_t hash;
    unsigned n;
    char *user, *address;
};

struct counts {
    struct count **chains;
    size_t size, used;
    uint64_t seed;
};

struct counts *
counts_new(void)
{
    struct counts *c = mem_calloc(1, sizeof *c);

    c->size = FIRST_SIZE;
    c->chains = mem_calloc(c->size, sizeof(struct count *));
    sys_random(&c->seed, sizeof c->seed);
    return c;
}

static void
free_count(struct count *count)
{
    free(count->user);
    free(count->address);
    free(count);
}

void
counts_free(struct counts **c)
{
    struct count *count, *next;

    if (*c == NULL)
        return;
    for (size_t i = 0; i < (*c)->size; i++) {
        for (count = (*c)->chains[i]; count != NULL; count = next) {
            next = count->next;
            free_count(count);
        }
    }
    free((*c)->chains);
    free(*c);
    *c = NULL;
}

static uint64_t
hash_of(const struct counts *c, const char *user, const char *address)
{
    uint64_t h = c->seed ^ UINT64_C(0xcbf29ce484222325);

    for (; *user != '\0'; user++)
        h = (h ^ (unsigned char)*user) * UINT64_C(0x100000001b3);
    h = (h ^ 0x1ff) * UINT64_C(0x100000001b3);
    for (; *address != '\0'; address++)
        h = (h ^ (unsigned char)*address) * UINT64_C(0x100000001b3);
    return h ^ h >> 29;
}

static void
grow(struct counts *c)
{
    size_t size = 2 * c->size;
    struct count **chains = mem_calloc(size, sizeof(struct count *)), *count, *next;

    for (size_t i = 0; i < c->size; i++) {
        for (count = c->chains[i]; count != NULL; count = next) {
            next = count->next;
            count->next = chains[count->hash & (size - 1)];
            chains[count->hash & (size - 1)] = count;
        }
    }
    free(c->chains);
    c->chains = chains;
    c->size = size;
}

struct count *
count_take(struct counts *c, const char *user, const char *address, unsigned max)
{
    uint64_t hash = hash_of(c, user, address);
    struct count **chain = &c->chains[hash & (c->size - 1)], *count;

    for (count = *chain; count != NULL; count = count->next)
        if (count->hash == hash && strcmp(count->user, user) == 0 &&
            strcmp(count->address, address) == 0)
            break;
    if (count != NULL) {
        if (max > 0 && count->n >= max)
            return NULL;
        count->n++;
        return count;
    }
    if (c->used >= c->size) {
        grow(c);
        chain = &c->chains[hash & (c->size - 1)];
    }
    count = mem_calloc(1, sizeof *count);
    count->hash = hash;
    count->n = 1;
    count->user = mem_strdup(user);
    count->address = mem_strdup(address);
    count->next = *chain;
    *chain = count;
    c->used++;
    return count;
}

void
count_drop(struct counts *c, struct count **count)
{
    struct count *gone = *count, **at;

    *count = NULL;
    if (gone == NULL || --gone->n > 0)
        return;
    for (at = &c->chains[gone->hash & (c->size - 1)]; *at != gone; at = &(*at)->next)
        ;
    *at = gone->next;
    c->used--;
    free_count(gone);
}

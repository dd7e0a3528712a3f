/*
 * Keywords of a mailbox; see keywords.h. `dovecot-keywords` has the same form as our file, so a
 * Maildir that comes from there keeps the meaning of its letters.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/log.h"
#include "store/keywords.h"

#define FILE_NAME "mansio-keywords"
#define FILE_MAX  65536

int
keyword_check(const char *name)
{
    size_t i, len = strnlen(name, KEYWORD_NAME_MAX + 1);

    if (len == 0 || len > KEYWORD_NAME_MAX)
        return ERR_CANNOT;
    for (i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name[i];

        if (c <= ' ' || c >= 0x7f || strchr("(){%*\"\\]", c) != NULL)
            return ERR_CANNOT;
    }
    return 0;
}

int
keyword_slot(const struct index_mailbox *row, const char *name)
{
    int i;

    for (i = 0; i < row->keywords_count; i++) {
        if (row->keywords[i][0] != '\0' && strcasecmp(row->keywords[i], name) == 0)
            return i;
    }
    return -1;
}

static void
set_name(struct index_mailbox *row, int slot, const char *name)
{
    /* "" up to the new slot: rows are zeroed, and freed slots emptied */
    snprintf(row->keywords[slot], sizeof row->keywords[slot], "%.*s", KEYWORD_NAME_MAX, name);
    if (row->keywords_count <= slot)
        row->keywords_count = (uint8_t)(slot + 1);
}

static int
save(struct mailbox *m)
{
    struct buf b = BUF_INIT(FILE_MAX);
    int i, err;

    for (i = 0; i < KEYWORDS_LETTERS && i < m->row.keywords_count; i++) {
        if (m->row.keywords[i][0] != '\0')
            buf_addf(&b, "%d %s\n", i, m->row.keywords[i]);
    }
    err = maildir_write_file(m->fd, FILE_NAME, b.data, b.len);
    buf_free(&b);
    return err;
}

static int
free_slot(const struct index_mailbox *row)
{
    int i;

    for (i = 0; i < row->keywords_count; i++) {
        if (row->keywords[i][0] == '\0')
            return i;
    }
    return i < KEYWORDS_MAX ? i : -1;
}

bool
keywords_room(const struct index_mailbox *row)
{
    return free_slot(row) >= 0;
}

/* One line "<0..25> <name>". */
static void
load_line(struct index_mailbox *row, char *line)
{
    char *end;
    long slot = strtol(line, &end, 10);
    size_t len;

    if (end == line || *end != ' ' || slot < 0 || slot >= KEYWORDS_LETTERS)
        return;
    end++;
    len = strlen(end);
    if (len > 0 && end[len - 1] == '\r')
        end[len - 1] = '\0';
    if (keyword_check(end) == 0 && keyword_slot(row, end) < 0 &&
        (slot >= row->keywords_count || row->keywords[slot][0] == '\0'))
        set_name(row, (int)slot, end);
}

static void
load_file(int fd, const char *name, struct index_mailbox *row)
{
    struct buf b = BUF_INIT(FILE_MAX);
    char *line, *next;

    if (maildir_read_file(fd, name, &b) == 0) {
        buf_addc(&b, '\0');
        for (line = b.data; line != NULL; line = next) {
            next = strchr(line, '\n');
            if (next != NULL)
                *next++ = '\0';
            load_line(row, line);
        }
    }
    buf_free(&b);
}

void
keywords_load(int fd, struct index_mailbox *row)
{
    load_file(fd, FILE_NAME, row);
    load_file(fd, "dovecot-keywords", row);
}

static int
collect_used(void *ctx, const struct index_message *m)
{
    uint64_t *used = ctx;

    *used |= m->keywords;
    return 0;
}

/* All slots are taken: those that no message uses any more are given free. */
static bool
reclaim(struct mailbox *m)
{
    uint64_t used = 0;
    bool freed = false;
    int i;

    if (index_message_each(m->a->ix, m->row.id, 1, UINT32_MAX, collect_used, &used) != 0)
        return false;
    for (i = 0; i < KEYWORDS_MAX; i++) {
        if ((used & UINT64_C(1) << i) == 0) {
            m->row.keywords[i][0] = '\0';
            freed = true;
        }
    }
    return freed;
}

int
keywords_bits(struct mailbox *m, const char *const *names, size_t count, bool make,
              uint64_t *bits)
{
    bool letters_changed = false, reclaimed = false;
    int slot, err;
    size_t i;

    *bits = 0;
    for (i = 0; i < count; i++) {
        err = keyword_check(names[i]);
        if (err < 0)
            return err;
        slot = keyword_slot(&m->row, names[i]);
        if (slot < 0 && make) {
            slot = free_slot(&m->row);
            /* once only: a second time would take what this call has just named */
            if (slot < 0 && !reclaimed && *bits == 0 && reclaim(m))
                slot = free_slot(&m->row);
            reclaimed = true;
            if (slot < 0)
                return ERR_LIMIT;
            set_name(&m->row, slot, names[i]);
            letters_changed = letters_changed || slot < KEYWORDS_LETTERS;
        }
        if (slot >= 0)
            *bits |= UINT64_C(1) << slot;
    }
    return letters_changed ? save(m) : 0;
}

bool
keywords_name_letters(struct mailbox *m, uint32_t letters)
{
    char name[16];
    bool changed = false;
    int i;

    for (i = 0; i < KEYWORDS_LETTERS; i++) {
        if ((letters & UINT32_C(1) << i) == 0 ||
            (i < m->row.keywords_count && m->row.keywords[i][0] != '\0'))
            continue;
        if (!changed)
            keywords_load(m->fd, &m->row); /* another program may have added it there */
        changed = true;
        if (i < m->row.keywords_count && m->row.keywords[i][0] != '\0')
            continue;
        snprintf(name, sizeof name, "unknown-%c", 'a' + i);
        set_name(&m->row, i, name);
    }
    if (changed && save(m) < 0)
        log_warn("the names of keywords in %s could not be saved", m->name);
    return changed;
}

uint64_t
keywords_map(const struct index_mailbox *from, struct mailbox *to, uint64_t bits)
{
    const char *name;
    uint64_t out = 0, bit;
    int i;

    for (i = 0; i < from->keywords_count && bits >> i != 0; i++) {
        name = from->keywords[i];
        if ((bits & UINT64_C(1) << i) != 0 && name[0] != '\0' &&
            keywords_bits(to, &name, 1, true, &bit) == 0)
            out |= bit;
    }
    return out;
}

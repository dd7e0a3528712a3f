/*
 * Another server's lists of one folder: which of them count, and the table of what they say;
 * see import.h.
 *
 * A user may have come to Dovecot from Courier, and Courier's files still lie there. So the
 * server whose list was written last counts, and nothing of the other one's is used, unless the
 * first has no UIDs.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/import_private.h"

#define DOVECOT_UIDS "dovecot-uidlist"
#define COURIER_UIDS "courierimapuiddb"
#define COURIER_POP3 "courierpop3dsizelist"
#define NO_FILE      INT64_MIN

struct import *
import_new(void)
{
    struct import *imp = mem_calloc(1, sizeof *imp);

    buf_init(&imp->text, IMPORT_TEXT_MAX);
    buf_addc(&imp->text, '\0');
    sys_random(&imp->seed, sizeof imp->seed);
    return imp;
}

void
import_free(struct import **imp)
{
    if (*imp == NULL)
        return;
    buf_free(&(*imp)->text);
    free((*imp)->entries);
    free((*imp)->slots);
    free(*imp);
    *imp = NULL;
}

bool
import_number(const char **s, uint64_t *n)
{
    const char *p = *s;

    *n = 0;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (*n > (UINT64_MAX - 9) / 10)
            return false;
        *n = *n * 10 + (uint64_t)(*p - '0');
    }
    if (p == *s)
        return false;
    *s = p;
    return true;
}

bool
import_uidl_ok(const char *s, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        if (s[i] < 0x21 || s[i] > 0x7e)
            return false;
    }
    return len > 0 && len <= IMPORT_UIDL_MAX;
}

uint32_t
import_text(struct import *imp, const char *s, size_t len)
{
    size_t at = imp->text.len;
    char *p = buf_room(&imp->text, len + 1);

    if (p == NULL)
        return 0;
    memcpy(p, s, len);
    p[len] = '\0';
    buf_added(&imp->text, len + 1);
    return (uint32_t)at;
}

/* FNV-1a over a seed that nobody can guess. */
static uint32_t
hash(const struct import *imp, const char *s, size_t len)
{
    uint32_t h = imp->seed ^ 2166136261u;
    size_t i;

    for (i = 0; i < len; i++)
        h = (h ^ (unsigned char)s[i]) * 16777619u;
    return h ^ h >> 15;
}

static uint32_t *
find_slot(const struct import *imp, const char *base, size_t len)
{
    uint32_t mask = imp->slots_count - 1, i = hash(imp, base, len) & mask;
    const struct import_entry *e;

    for (; imp->slots[i] != 0; i = (i + 1) & mask) {
        e = &imp->entries[imp->slots[i] - 1];
        if (e->base_len == len && memcmp(imp->text.data + e->name, base, len) == 0)
            break;
    }
    return &imp->slots[i];
}

static void
grow(struct import *imp)
{
    const struct import_entry *e;
    uint32_t i;

    imp->cap = imp->cap == 0 ? 512 : imp->cap * 2;
    imp->entries = mem_reallocarray(imp->entries, imp->cap, sizeof *imp->entries);
    free(imp->slots);
    imp->slots_count = imp->cap * 2;
    imp->slots = mem_calloc(imp->slots_count, sizeof *imp->slots);
    for (i = 0; i < imp->count; i++) {
        e = &imp->entries[i];
        *find_slot(imp, imp->text.data + e->name, e->base_len) = i + 1;
    }
}

/* Up to ":2,", at most what a file's name can have; 0: no message's name. */
static size_t
base_length(const char *name, size_t len)
{
    const char *info = memmem(name, len, ":2,", 3);

    if (info != NULL)
        len = (size_t)(info - name);
    return len <= MDNAME_MAX && len > 0 && name[0] != '.' && memchr(name, '/', len) == NULL
               ? len
               : 0;
}

struct import_entry *
import_entry(struct import *imp, const char *base, size_t len)
{
    struct import_entry *e;
    uint32_t *slot, text;

    len = base_length(base, len);
    if (len == 0)
        return NULL;
    if (imp->count == imp->cap) {
        if (imp->count >= IMPORT_ENTRIES_MAX)
            return NULL;
        grow(imp);
    }
    slot = find_slot(imp, base, len);
    if (*slot != 0)
        return &imp->entries[*slot - 1];
    text = import_text(imp, base, len);
    if (text == 0)
        return NULL;
    e = &imp->entries[imp->count++];
    *e = (struct import_entry){
        .name = text, .base_len = (uint8_t)len, .crlf_size = MDNAME_SIZE_UNKNOWN};
    *slot = imp->count;
    return e;
}

struct import_entry *
import_listed(struct import *imp, uint64_t uid, const char *base, size_t len)
{
    struct import_entry *e;

    if (uid <= imp->last_uid || uid > IMPORT_UID_MAX)
        return NULL;
    e = import_entry(imp, base, len);
    if (e == NULL)
        return NULL;
    if (e->uid != 0) { /* the file went away, its UID with it, and came back */
        e->uidl = e->other = 0;
        e->crlf_size = MDNAME_SIZE_UNKNOWN;
    }
    e->uid = imp->last_uid = (uint32_t)uid;
    if (uid >= imp->uidnext)
        imp->uidnext = (uint32_t)uid + 1;
    return e;
}

bool
import_header(struct import *imp, uint64_t uidvalidity, uint64_t uidnext)
{
    if (uidvalidity == 0 || uidvalidity > UINT32_MAX)
        return false;
    imp->uidvalidity = (uint32_t)uidvalidity;
    imp->uidnext = uidnext <= IMPORT_UID_MAX ? (uint32_t)uidnext : 0;
    return true;
}

bool
import_header_numbers(struct import *imp, const char *s)
{
    uint64_t uidvalidity, uidnext;

    if (!import_number(&s, &uidvalidity) || *s != ' ')
        return false;
    s++;
    return import_number(&s, &uidnext) && import_header(imp, uidvalidity, uidnext);
}

uint64_t
import_keyword_bit(struct import *imp, const char *name)
{
    unsigned i;

    for (i = 0; i < imp->keywords_count; i++) {
        if (strcasecmp(imp->keywords[i], name) == 0)
            return UINT64_C(1) << i;
    }
    if (i == IMPORT_KEYWORDS || keyword_check(name) < 0)
        return 0;
    memcpy(imp->keywords[i], name, strlen(name) + 1);
    imp->keywords_count++;
    return UINT64_C(1) << i;
}

struct uidl {
    const char *text;
    uint32_t entry;
};

static int
compare_uidls(const void *a, const void *b)
{
    const struct uidl *x = a, *y = b;

    return strcmp(x->text, y->text);
}

void
import_unique_uidls(struct import *imp)
{
    struct uidl *all = mem_reallocarray(NULL, (size_t)imp->count + 1, sizeof *all);
    size_t n = 0, i;

    for (i = 0; i < imp->count; i++) {
        if (imp->entries[i].uidl != 0)
            all[n++] = (struct uidl){imp->text.data + imp->entries[i].uidl, (uint32_t)i};
    }
    qsort(all, n, sizeof *all, compare_uidls);
    for (i = 1; i < n; i++) {
        if (strcmp(all[i].text, all[i - 1].text) == 0)
            imp->entries[all[i].entry].uidl = imp->entries[all[i - 1].entry].uidl = 0;
    }
    free(all);
}

/* When the file was written, in nanoseconds; NO_FILE. */
static int
written(int fd, const char *folder, const char *name, int64_t *when)
{
    struct stat st;

    *when = NO_FILE;
    if (fstatat(fd, name, &st, 0) == 0) {
        *when = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
        return 0;
    }
    if (errno == ENOENT)
        return 0;
    log_error("folder %s: %s: %s", folder, name, strerror(errno));
    return err_from_errno(errno);
}

/* A list that vanished meanwhile is an empty one. */
static int
read_list(int fd, const char *folder, const char *name, import_line_fn *fn, struct import *imp)
{
    int err;

    imp->last_uid = 0;
    err = import_lines_read(fd, folder, name, fn, imp);
    return err == ERR_NOENT ? 0 : err;
}

static int
read_courier(int fd, const char *folder, int64_t uids, int64_t pop3, struct import *imp)
{
    int err = 0;

    if (uids != NO_FILE)
        err = read_list(fd, folder, COURIER_UIDS, import_courier_line, imp);
    if (err == 0 && pop3 != NO_FILE)
        err = read_list(fd, folder, COURIER_POP3, import_courier_pop3_line, imp);
    return err == 0 ? import_courier_keywords(fd, folder, imp) : err;
}

int
import_read(int fd, const char *folder, struct import **out)
{
    int64_t dovecot, courier, pop3, younger;
    struct import *imp;
    int err = written(fd, folder, DOVECOT_UIDS, &dovecot);

    *out = NULL;
    if (err == 0)
        err = written(fd, folder, COURIER_UIDS, &courier);
    if (err == 0)
        err = written(fd, folder, COURIER_POP3, &pop3);
    if (err < 0)
        return err;
    younger = courier > pop3 ? courier : pop3;
    if (dovecot == NO_FILE && younger == NO_FILE)
        return ERR_NOENT;
    imp = import_new();
    if (dovecot < younger)
        err = read_courier(fd, folder, courier, pop3, imp);
    if (err == 0 && imp->uidvalidity == 0 && dovecot != NO_FILE)
        err = read_list(fd, folder, DOVECOT_UIDS, import_dovecot_line, imp);
    if (err == 0 && imp->uidvalidity == 0 && dovecot >= younger && courier != NO_FILE)
        err = read_list(fd, folder, COURIER_UIDS, import_courier_line, imp);
    if (err < 0) {
        import_free(&imp);
        return err;
    }
    import_unique_uidls(imp);
    *out = imp;
    return 0;
}

uint32_t
import_uidvalidity(const struct import *imp)
{
    return imp->uidvalidity;
}

uint32_t
import_uidnext(const struct import *imp)
{
    return imp->uidnext;
}

bool
import_has_keywords(const struct import *imp)
{
    return imp->keywords_known;
}

const char *
import_guid(const struct import *imp)
{
    return imp->guid;
}

const char *
import_keyword(const struct import *imp, unsigned i)
{
    return i < imp->keywords_count ? imp->keywords[i] : NULL;
}

bool
import_find(const struct import *imp, const char *base, size_t len, struct import_message *out)
{
    const struct import_entry *e;
    uint32_t slot;

    if (imp->count == 0 || (slot = *find_slot(imp, base, len)) == 0)
        return false;
    e = &imp->entries[slot - 1];
    *out = (struct import_message){.uid = imp->uidvalidity != 0 ? e->uid : 0,
                                   .uidl = imp->text.data + e->uidl,
                                   .other = imp->text.data + e->other,
                                   .keywords = e->keywords,
                                   .crlf_size = e->crlf_size};
    return true;
}

/*
 * The folders of an account: the list. The directories are the truth for what exists; the index
 * is asked for the special uses only (RFC 6154).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "store/folders_private.h"
#include "store/maildir.h"

static const struct {
    uint32_t bit;
    const char *name;
} special_uses[] = {
    {SPECIAL_ALL, "\\All"},       {SPECIAL_ARCHIVE, "\\Archive"},
    {SPECIAL_DRAFTS, "\\Drafts"}, {SPECIAL_FLAGGED, "\\Flagged"},
    {SPECIAL_JUNK, "\\Junk"},     {SPECIAL_SENT, "\\Sent"},
    {SPECIAL_TRASH, "\\Trash"},
};

uint32_t
special_use_bit(const char *attribute)
{
    size_t i;

    for (i = 0; i < sizeof special_uses / sizeof special_uses[0]; i++) {
        if (strcasecmp(special_uses[i].name, attribute) == 0)
            return special_uses[i].bit;
    }
    return 0;
}

const char *
special_use_name(uint32_t bit)
{
    size_t i;

    for (i = 0; i < sizeof special_uses / sizeof special_uses[0]; i++) {
        if (special_uses[i].bit == bit)
            return special_uses[i].name;
    }
    return NULL;
}

void
name_list_add(struct name_list *l, const char *name)
{
    if (l->count == l->cap) {
        l->cap = l->cap > 0 ? l->cap * 2 : 16;
        l->names = mem_reallocarray(l->names, l->cap, sizeof *l->names);
    }
    l->names[l->count++] = mem_strdup(name);
}

void
name_list_free(struct name_list *l)
{
    size_t i;

    for (i = 0; i < l->count; i++)
        free(l->names[i]);
    free(l->names);
    memset(l, 0, sizeof *l);
}

bool
folders_is_child(const char *name, const char *parent)
{
    size_t len = strlen(parent);

    return strncmp(name, parent, len) == 0 && name[len] == '.';
}

int
folders_read(struct account *a, struct name_list *out)
{
    int dir = openat(a->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = dir >= 0 ? fdopendir(dir) : NULL;
    struct dirent *e;
    const char *name;

    if (d == NULL) {
        if (dir >= 0)
            close(dir);
        log_error("cannot read %s: %s", a->mail_dir, strerror(errno));
        return err_from_errno(errno);
    }
    while ((e = readdir(d)) != NULL) {
        if (maildir_is_folder(a->root, e->d_name, e->d_type, &name))
            name_list_add(out, name);
    }
    closedir(d);
    return 0;
}

bool
folder_exists(struct account *a, const char *name)
{
    return strcmp(name, "INBOX") == 0 || mailbox_dir_exists(a, name);
}

/* A list while it grows. */
struct listing {
    struct folder_list *list;
    struct arena *memory;
    size_t cap;
};

static struct folder *
add(struct listing *l, const char *name)
{
    struct folder *f;

    if (l->list->count == l->cap) {
        l->cap = l->cap > 0 ? l->cap * 2 : 32;
        l->list->items = mem_reallocarray(l->list->items, l->cap, sizeof *l->list->items);
    }
    f = &l->list->items[l->list->count++];
    memset(f, 0, sizeof *f);
    f->name = arena_strdup(l->memory, name);
    return f;
}

static bool
under_inbox(const char *name)
{
    return strncmp(name, "INBOX", 5) == 0 && (name[5] == '\0' || name[5] == '.');
}

/* INBOX and its children first; else by octets, with '.' before all others, so that children
   come right behind their parent. */
static int
compare_names(const char *x, const char *y)
{
    bool x_inbox = under_inbox(x), y_inbox = under_inbox(y);
    unsigned char a, b;

    if (x_inbox != y_inbox)
        return x_inbox ? -1 : 1;
    while (*x != '\0' && *x == *y) {
        x++;
        y++;
    }
    a = *x == '.' ? 1 : (unsigned char)*x;
    b = *y == '.' ? 1 : (unsigned char)*y;
    return (a > b) - (a < b);
}

static int
compare_folders(const void *a, const void *b)
{
    return compare_names(((const struct folder *)a)->name, ((const struct folder *)b)->name);
}

/* Joins entries of one name: a folder that's there and subscribed. */
static void
merge(struct folder_list *l)
{
    size_t i, n = 0;

    qsort(l->items, l->count, sizeof *l->items, compare_folders);
    for (i = 0; i < l->count; i++) {
        if (n > 0 && strcmp(l->items[n - 1].name, l->items[i].name) == 0) {
            l->items[n - 1].exists = l->items[n - 1].exists || l->items[i].exists;
            l->items[n - 1].subscribed = l->items[n - 1].subscribed || l->items[i].subscribed;
            l->items[n - 1].special_use |= l->items[i].special_use;
        } else {
            l->items[n++] = l->items[i];
        }
    }
    l->count = n;
}

/* Adds the parents that no directory stands for. Only of folders that exist: a parent of a name
   that's merely subscribed is nothing. */
static void
add_parents(struct listing *l)
{
    char parent[MBOXNAME_MAX + 1];
    size_t i, count = l->list->count, len;

    for (i = 0; i < count; i++) {
        const char *name = l->list->items[i].name, *dot;

        if (!l->list->items[i].exists)
            continue;
        for (dot = strchr(name, '.'); dot != NULL; dot = strchr(dot + 1, '.')) {
            len = (size_t)(dot - name);
            memcpy(parent, name, len);
            parent[len] = '\0';
            /* most have their parent right in front of them */
            if (i > 0 && (strcmp(l->list->items[i - 1].name, parent) == 0 ||
                          (l->list->items[i - 1].exists &&
                           folders_is_child(l->list->items[i - 1].name, parent))))
                continue;
            add(l, parent);
        }
    }
}

static void
mark_children(struct folder_list *l)
{
    size_t i, j;

    /* children follow their parent, with nothing else in between */
    for (i = 0; i + 1 < l->count; i++) {
        for (j = i + 1; j < l->count && folders_is_child(l->items[j].name, l->items[i].name);
             j++) {
            if (l->items[j].exists) {
                l->items[i].has_children = true;
                break;
            }
        }
    }
}

static int
take_special_use(void *ctx, const char *name, const struct index_mailbox *row)
{
    struct folder_list *l = ctx;
    struct folder key = {.name = name}, *f;

    if (row->special_use == 0)
        return 0;
    f = bsearch(&key, l->items, l->count, sizeof *l->items, compare_folders);
    if (f != NULL && f->exists)
        f->special_use = row->special_use;
    return 0;
}

static int
fill(struct account *a, struct listing *l)
{
    struct name_list names = {0};
    size_t i;
    int err = folders_read(a, &names);

    add(l, "INBOX")->exists = true;
    for (i = 0; i < names.count; i++)
        add(l, names.names[i])->exists = true;
    name_list_free(&names);
    if (err == 0)
        err = subscriptions_read(a, &names);
    for (i = 0; i < names.count; i++)
        add(l, names.names[i])->subscribed = true;
    name_list_free(&names);
    return err;
}

int
folder_list(struct account *a, struct folder_list *out)
{
    struct listing l = {.list = out};
    int err;

    memset(out, 0, sizeof *out);
    l.memory = arena_new();
    out->memory = l.memory;
    err = fill(a, &l);
    if (err == 0) {
        merge(out);
        add_parents(&l);
        merge(out);
        mark_children(out);
        err = account_lock(a);
    }
    if (err == 0) {
        err = index_mailbox_each(a->ix, take_special_use, out);
        account_unlock(a);
    }
    if (err < 0)
        folder_list_free(out);
    return err;
}

void
folder_list_free(struct folder_list *l)
{
    struct arena *memory = l->memory;

    free(l->items);
    arena_free(&memory);
    memset(l, 0, sizeof *l);
}

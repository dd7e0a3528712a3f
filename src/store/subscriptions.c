/*
 * The file `subscriptions` in the Maildir's root: one internal name a line, replaced by rename.
 * Dovecot's two forms are read: names with dots, and "V\t2" with tabs between the levels; ours
 * is the first, which it reads too.
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "store/folders_private.h"
#include "store/maildir.h"

#define FILE_NAME SUBSCRIPTIONS_FILE
#define FILE_MAX  (4u << 20)
#define NAMES_MAX 20000 /* more than that is no list of folders */

static bool
usable(const char *name)
{
    size_t i, len = strlen(name);

    for (i = 0; i < len; i++) {
        if ((unsigned char)name[i] < ' ') /* Dovecot's escapes of what can't be in a name */
            return false;
    }
    return len > 0 && len <= MBOXNAME_MAX && name[0] != '.' && name[len - 1] != '.' &&
           strstr(name, "..") == NULL && strchr(name, '/') == NULL;
}

int
subscriptions_read(struct account *a, struct name_list *out)
{
    struct buf b = BUF_INIT(FILE_MAX);
    int err = maildir_read_file(a->root, FILE_NAME, &b);
    char *line, *next, *p;
    bool tabs;

    if (err < 0) {
        buf_free(&b);
        if (err != ERR_NOENT)
            log_error("%s/" FILE_NAME ": %s", a->mail_dir, err_text(err));
        return err == ERR_NOENT ? 0 : err;
    }
    buf_addc(&b, '\0');
    tabs = strncmp(b.data, "V\t", 2) == 0;
    for (line = b.data; line != NULL && out->count < NAMES_MAX; line = next) {
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        line[strcspn(line, "\r")] = '\0';
        if (tabs && line == b.data)
            continue;
        for (p = line; tabs && *p != '\0'; p++)
            *p = *p == '\t' ? '.' : *p;
        if (usable(line))
            name_list_add(out, line);
    }
    buf_free(&b);
    return 0;
}

/* The list as it was, if it isn't. */
static void
put_back(struct account *a, const struct buf *before)
{
    struct buf now = BUF_INIT(FILE_MAX);

    if (maildir_read_file(a->root, FILE_NAME, &now) == 0 &&
        (now.len != before->len || memcmp(now.data, before->data, now.len) != 0))
        (void)maildir_write_file(a->root, FILE_NAME, before->data, before->len);
    buf_free(&now);
}

int
subscriptions_change(struct account *a, const char *name, bool on)
{
    struct name_list names = {0};
    struct buf b = BUF_INIT(FILE_MAX), before = BUF_INIT(FILE_MAX);
    bool there = false;
    size_t i;
    int err = subscriptions_read(a, &names);

    for (i = 0; err == 0 && i < names.count; i++) {
        bool same = strcmp(names.names[i], name) == 0;

        buf_addf(&before, "%s\n", names.names[i]);
        if (same && (!on || there)) {
            there = true;
            continue;
        }
        there = there || same;
        buf_adds(&b, names.names[i]);
        buf_addc(&b, '\n');
    }
    if (on && !there && names.count >= NAMES_MAX)
        err = ERR_LIMIT;
    if (on && !there)
        buf_addf(&b, "%s\n", name);
    if (err == 0 && on != there) {
        err = maildir_write_file(a->root, FILE_NAME, b.data, b.len);
        if (err < 0) /* it may be there all the same: NO means that it isn't */
            put_back(a, &before);
    }
    name_list_free(&names);
    buf_free(&before);
    buf_free(&b);
    return err;
}

int
subscriptions_add(struct account *a, const struct name_list *more, unsigned *added)
{
    struct name_list names = {0};
    struct buf b = BUF_INIT(FILE_MAX);
    size_t i, j;
    int err = subscriptions_read(a, &names);

    *added = 0;
    for (i = 0; err == 0 && i < more->count && names.count < NAMES_MAX; i++) {
        for (j = 0; j < names.count && strcmp(names.names[j], more->names[i]) != 0;)
            j++;
        if (j < names.count || !usable(more->names[i]))
            continue;
        name_list_add(&names, more->names[i]);
        (*added)++;
    }
    for (i = 0; i < names.count; i++)
        buf_addf(&b, "%s\n", names.names[i]);
    if (err == 0 && *added > 0)
        err = maildir_write_file(a->root, FILE_NAME, b.data, b.len);
    name_list_free(&names);
    buf_free(&b);
    return err;
}

int
folder_subscribe(struct account *a, const char *name, bool on)
{
    int err;

    if (!usable(name))
        return ERR_CANNOT;
    err = account_lock(a); /* two sessions of one user: neither change is lost */
    if (err < 0)
        return err;
    err = subscriptions_change(a, name, on);
    account_unlock(a);
    return err;
}

/*
 * A folder's file `mansio-folder`, "<id> <uidvalidity>\n": which row of the index is the
 * folder's. mailbox.c says what it's for.
 *
 * It's written after the row's commit is durable, or with it: an id whose row is lost makes the
 * next opener take a higher UIDVALIDITY. A crash in between leaves a row without an id; the
 * recovery that follows it mends that.
 *
 * Two syncs for each of 10,000 folders that were never opened took most of a minute. So many
 * ids are made together and synced by one syncfs(), which may have to write what others left in
 * that file system; a few are synced one by one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/mailbox_private.h"

#define FEW       3 /* ids that are synced one by one */
#define TEXT_SIZE 32
#define PATH_SIZE (MBOXNAME_MAX + sizeof MAILBOX_ID_FILE + 2)

static size_t
id_text(char text[TEXT_SIZE], uint32_t id, uint32_t uidvalidity)
{
    return (size_t)snprintf(text, TEXT_SIZE, "%u %u\n", id, uidvalidity);
}

static void
id_path(char path[PATH_SIZE], const char *dir)
{
    snprintf(path, PATH_SIZE, "%s/" MAILBOX_ID_FILE, dir);
}

int
mailbox_write_id(int fd, const struct index_mailbox *row)
{
    char text[TEXT_SIZE];

    return maildir_write_file(fd, MAILBOX_ID_FILE, text,
                              id_text(text, row->id, row->uidvalidity));
}

bool
mailbox_read_id(int fd, const char *dir, uint32_t *id, uint32_t *uidvalidity)
{
    char path[PATH_SIZE];
    struct buf b = BUF_INIT(8192);
    unsigned long long x, y;
    bool ok = false;
    char *end;

    id_path(path, dir);
    if (maildir_read_file(fd, path, &b) == 0) {
        x = strtoull(buf_str(&b), &end, 10);
        y = *end == ' ' ? strtoull(end + 1, &end, 10) : 0;
        ok = *end == '\n' && x > 0 && x <= UINT32_MAX && y > 0 && y <= UINT32_MAX;
        *id = (uint32_t)x;
        *uidvalidity = (uint32_t)y;
    }
    buf_free(&b);
    return ok;
}

void
mailbox_put_off(struct later *l, const struct mailbox *m)
{
    struct later_id *id;

    l->sync = true;
    if (l->count == l->cap) {
        l->cap = l->cap > 0 ? l->cap * 2 : 16;
        l->ids = mem_reallocarray(l->ids, l->cap, sizeof *l->ids);
    }
    id = &l->ids[l->count++];
    id->name = mem_strdup(m->name);
    id->id = m->row.id;
    id->uidvalidity = m->row.uidvalidity;
}

/* By itself, and durably; also where there's a file of that name. */
static int
save_id(struct account *a, const struct later_id *id)
{
    struct index_mailbox row = {.id = id->id, .uidvalidity = id->uidvalidity};
    int fd, err = maildir_open(a->root, id->name, &fd);

    if (err == 0) {
        err = mailbox_write_id(fd, &row);
        close(fd);
    }
    if (err < 0)
        log_warn("folder %s: its id could not be saved", id->name);
    return err;
}

/* A new file, to be synced with others in the file system `dev`. False: not this way. Torn by a
   power cut it makes no sense, as if it weren't there. */
static bool
make_id(struct account *a, const struct later_id *id, dev_t dev)
{
    char dir[MBOXNAME_MAX + 2], path[PATH_SIZE], text[TEXT_SIZE];
    size_t len = id_text(text, id->id, id->uidvalidity);
    struct stat st;
    bool done;
    int file;

    maildir_dir_name(id->name, dir, sizeof dir);
    id_path(path, dir);
    file = openat(a->root, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0)
        return false;
    done = fstat(file, &st) == 0 && st.st_dev == dev && write(file, text, len) == (ssize_t)len;
    return close(file) == 0 && done;
}

static void
save_ids(struct account *a, const struct later *l)
{
    bool together = false;
    struct stat st;
    size_t i;

    for (i = 0; i < l->count; i++) {
        if (l->count > FEW && fstat(a->root, &st) == 0 && make_id(a, &l->ids[i], st.st_dev))
            together = true;
        else
            (void)save_id(a, &l->ids[i]);
        sys_step("mailbox:id");
    }
    if (together && sys_syncfs(a->root) != 0)
        log_warn("%s: the folders' ids could not be synced: %s", a->mail_dir, strerror(errno));
}

int
mailbox_settle(struct account *a, struct later *l)
{
    int err = l->sync ? index_sync(a->ix) : 0;
    size_t i;

    if (err == 0 && l->count > 0)
        save_ids(a, l);
    sys_step("mailbox:settled");
    for (i = 0; i < l->count; i++)
        free(l->ids[i].name);
    free(l->ids);
    memset(l, 0, sizeof *l);
    return err;
}

static int
mend_id(void *ctx, const char *name, const struct index_mailbox *row)
{
    struct account *a = ctx;
    char dir[MBOXNAME_MAX + 2], copy[MBOXNAME_MAX + 1];
    struct later_id id = {copy, row->id, row->uidvalidity};
    uint32_t found, uidvalidity;

    if (strlen(name) > MBOXNAME_MAX)
        return 0;
    maildir_dir_name(name, dir, sizeof dir);
    snprintf(copy, sizeof copy, "%s", name);
    if (mailbox_read_id(a->root, dir, &found, &uidvalidity) || !mailbox_dir_exists(a, name))
        return 0;
    return save_id(a, &id); /* where one can't be written, the next can't either */
}

void
mailbox_mend_ids(struct account *a)
{
    (void)index_mailbox_each(a->ix, mend_id, a);
}

/*
 * The files `mansio-pending` and `mansio-undo`; see pending.h.
 *
 * Taking back removes files, so it's done only when it's certain that nobody was told of them:
 * the folder's row is the one that was noted, no UID was given since (the commit that would
 * have given them is the last step), the name was made by the dead process after the note, and
 * no row has it. A lost or repaired index can't say so: then the messages stay, each of them
 * whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/folders_private.h"
#include "store/import.h"
#include "store/maildir.h"
#include "store/pending.h"
#include "store/scan_table.h"
#include "store/view.h"

#define WORDS_MAX 6
#define FILE_MAX  8192 /* octets */

static int
write_line(struct account *a, const char *file, const struct buf *b)
{
    int err = buf_ok(b) ? maildir_write_file(a->root, file, b->data, b->len) : ERR_LIMIT;

    sys_step("pending:written");
    if (err < 0) /* it may be there all the same: the client is told NO, so nobody must do it */
        pending_end(a, file);
    return err;
}

int
pending_rename(struct account *a, const char *from, const char *to)
{
    struct buf b = BUF_INIT(FILE_MAX);
    int err;

    buf_addf(&b, "rename\t%s\t%s\n", from, to);
    err = write_line(a, PENDING_FILE, &b);
    buf_free(&b);
    return err;
}

int
pending_inbox(struct account *a, const char *to, uint32_t uidnext)
{
    struct buf b = BUF_INIT(FILE_MAX);
    int err;

    buf_addf(&b, "inbox\t%s\t%u\n", to, uidnext);
    err = write_line(a, PENDING_FILE, &b);
    buf_free(&b);
    return err;
}

int
pending_undo(struct mailbox *m)
{
    struct buf b = BUF_INIT(FILE_MAX);
    char mark[MDNAME_MARK_SIZE];
    int err;

    mdname_mark(mark);
    buf_addf(&b, "undo\t%u\t%u\t%u\t%s\n", m->row.id, m->row.uidvalidity, m->row.uidnext, mark);
    err = write_line(m->a, PENDING_UNDO, &b);
    buf_free(&b);
    return err;
}

void
pending_end(struct account *a, const char *file)
{
    if (unlinkat(a->root, file, 0) == 0)
        (void)sys_fsync_dir(a->root, ".");
    else if (errno != ENOENT)
        log_error("%s/%s: %s", a->mail_dir, file, strerror(errno));
    sys_step("pending:ended");
}

/* The words of the file's line; *count is 0 when it makes no sense. ERR_NOENT: no such file. */
static int
read_words(struct account *a, const char *file, struct buf *b, char *words[WORDS_MAX],
           size_t *count)
{
    int err = maildir_read_file(a->root, file, b);
    char *p;

    *count = 0;
    if (err < 0)
        return err == ERR_LIMIT ? 0 : err;
    buf_addc(b, '\0');
    if (!buf_ok(b) || b->len < 2)
        return 0;
    p = b->data;
    p[strcspn(p, "\n")] = '\0';
    while (*count < WORDS_MAX) {
        words[(*count)++] = p;
        p = strchr(p, '\t');
        if (p == NULL)
            break;
        *p++ = '\0';
    }
    return 0;
}

static bool
is_name(const char *s)
{
    return s[0] != '\0' && strlen(s) <= MBOXNAME_MAX && strchr(s, '/') == NULL;
}

static bool
parse_number(const char *s, uint32_t *out)
{
    char *end;
    unsigned long long n = strtoull(s, &end, 10);

    *out = (uint32_t)n;
    return end != s && *end == '\0' && n > 0 && n <= UINT32_MAX;
}

static int
note_known(void *ctx, const struct index_message *m)
{
    struct scan_table *t = ctx;
    uint32_t i = scan_table_find(t, m->name, maildir_base_len(m->name));

    if (i != SCAN_NONE)
        t->items[i].matched = true;
    return 0;
}

/* Removes the files of `name` that were made after the mark and have no row. */
static int
remove_unknown(struct account *a, const char *name, uint32_t id, const char *mark)
{
    char path[MAILDIR_PATH_MAX];
    struct scan_table t;
    unsigned removed = 0;
    uint32_t i;
    int fd, err = maildir_open(a->root, name, &fd);

    if (err < 0)
        return err;
    scan_table_init(&t);
    err = scan_table_read(&t, fd, false);
    if (err == 0)
        err = index_message_each(a->ix, id, 1, UINT32_MAX, note_known, &t);
    for (i = 0; err == 0 && i < t.count; i++) {
        if (t.items[i].matched || !mdname_is_after(scan_table_name(&t, i), mark))
            continue;
        maildir_path(path, false, scan_table_name(&t, i));
        if (unlinkat(fd, path, 0) == 0)
            removed++;
        else if (errno != ENOENT)
            err = err_from_errno(errno);
        sys_step("pending:removed");
    }
    if (err == 0 && removed > 0 && sys_fsync_dir(fd, "cur") != 0)
        err = err_from_errno(errno);
    if (removed > 0)
        log_info("folder %s: an APPEND or COPY was cut short: took %u messages back", name,
                 removed);
    scan_table_free(&t);
    close(fd);
    return err;
}

/* "undo ID UIDVALIDITY UIDNEXT MARK". */
static int
take_back(struct account *a, char *words[WORDS_MAX], size_t count)
{
    uint32_t id, uidvalidity, uidnext;
    char name[MBOXNAME_MAX + 1];
    struct index_mailbox row;
    int err;

    if (count != 5 || strcmp(words[0], "undo") != 0 || !parse_number(words[1], &id) ||
        !parse_number(words[2], &uidvalidity) || !parse_number(words[3], &uidnext))
        return 0;
    err = index_mailbox_get_by_id(a->ix, id, name, sizeof name, &row);
    if (err == ERR_NOENT)
        return 0;
    if (err < 0 || row.uidvalidity != uidvalidity || row.uidnext > uidnext)
        return err;
    err = remove_unknown(a, name, id, words[4]);
    return err == ERR_NOENT ? 0 : err;
}

/* "rename FROM TO"; anything else is left. */
static int
finish_rename(struct account *a, char *words[WORDS_MAX], size_t count, bool *left)
{
    *left = count != 3 || strcmp(words[0], "rename") != 0 || !is_name(words[1]) ||
            !is_name(words[2]);
    if (*left)
        return 0;
    log_info("finishing the renaming of folder %s to %s", words[1], words[2]);
    return folders_move(a, words[1], words[2]);
}

void
pending_mend(struct account *a)
{
    struct buf undo = BUF_INIT(FILE_MAX), b = BUF_INIT(FILE_MAX);
    char *words[WORDS_MAX];
    bool left;
    size_t count;

    if (read_words(a, PENDING_UNDO, &undo, words, &count) == 0 &&
        take_back(a, words, count) == 0)
        pending_end(a, PENDING_UNDO);
    if (read_words(a, PENDING_FILE, &b, words, &count) == 0 &&
        finish_rename(a, words, count, &left) == 0 && !left)
        pending_end(a, PENDING_FILE);
    buf_free(&undo);
    buf_free(&b);
    (void)folders_heal(a);
    mailbox_mend_ids(a);
}

/* "inbox TO UIDNEXT": what is left of RENAME INBOX. Takes the lock. */
static int
finish_inbox(struct account *a, const char *to, uint32_t uidnext)
{
    struct seq_range below = {1, uidnext > 1 ? uidnext - 1 : 1};
    struct seqset uids = {.ranges = &below, .count = 1, .cap = 1}, src, dst;
    struct view *v = NULL;
    uint32_t uidvalidity;
    bool some_gone;
    int err;

    if (!folder_exists(a, to)) /* it wasn't even begun */
        return 0;
    log_info("finishing the renaming of INBOX to %s", to);
    seqset_init(&src);
    seqset_init(&dst);
    err = view_open(a, "INBOX", VIEW_POP3, &v);
    if (err == 0)
        err = view_copy(v, &uids, to, true, &uidvalidity, &src, &dst, &some_gone);
    view_close(&v);
    seqset_free(&src);
    seqset_free(&dst);
    return err;
}

/* A Maildir that's opened for the first time: another server may have left it. */
static int
set_up(struct account *a)
{
    int err = import_folder_names(a);

    if (err == 0)
        err = import_subscriptions(a, NULL);
    return err == 0 ? folders_make_auto(a) : err;
}

void
pending_finish(struct account *a)
{
    struct buf b = BUF_INIT(FILE_MAX);
    char *words[WORDS_MAX];
    bool left = false;
    uint32_t uidnext;
    size_t count;
    int err = account_lock(a);

    if (err < 0)
        return;
    /* read under the lock: another session may be at work on it, and be done now */
    err = read_words(a, PENDING_FILE, &b, words, &count);
    if (err == 0)
        err = finish_rename(a, words, count, &left);
    if (err == 0 && !left)
        pending_end(a, PENDING_FILE);
    account_unlock(a);
    if (left && count == 3 && strcmp(words[0], "inbox") == 0 && is_name(words[1]) &&
        parse_number(words[2], &uidnext))
        err = finish_inbox(a, words[1], uidnext);
    else if (left && count == 1 && strcmp(words[0], "setup") == 0)
        err = set_up(a);
    if (left && err == 0) /* what makes no sense goes too */
        pending_end(a, PENDING_FILE);
    if (err < 0 && err != ERR_NOENT)
        log_warn("%s/" PENDING_FILE " could not be finished: %s; it will be tried again",
                 a->mail_dir, err_text(err));
    buf_free(&b);
}

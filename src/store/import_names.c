/*
 * Names of folders and subscriptions as other servers write them.
 *
 * Courier has UTF-8 in the names of directories since its version 5, and Dovecot where its
 * administrator wished; here they're modified UTF-7, as Maildir++ had it from the beginning and
 * clients speak it. So when the first session opens the Maildir (not while `mansioctl import`
 * works ahead: the other server still needs them), such a directory is renamed. The folder's
 * row follows it, as with any folder that another program renames.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/sys.h"
#include "store/folders_private.h"
#include "store/import_private.h"

#define COURIER_SUBSCRIBED "courierimapsubscribed"
#define SUBSCRIBED_MAX     (4u << 20)

bool
import_name(const char *name, struct buf *out)
{
    struct buf utf8 = BUF_INIT(4 * MBOXNAME_MAX);
    bool valid;

    buf_reset(out);
    valid = mutf7_to_utf8(name, strlen(name), &utf8) == 0;
    buf_free(&utf8);
    if (valid) {
        buf_adds(out, name);
        return true;
    }
    if (mutf7_from_utf8(name, strlen(name), out) == 0 && out->len <= MBOXNAME_MAX)
        return true;
    buf_reset(out);
    buf_adds(out, name);
    return false;
}

static void
rename_folder(struct account *a, const char *name, const char *to)
{
    char old[MBOXNAME_MAX + 2], dir[MBOXNAME_MAX + 2];
    struct mailbox *m;

    maildir_dir_name(name, old, sizeof old);
    maildir_dir_name(to, dir, sizeof dir);
    if (faccessat(a->root, dir, F_OK, AT_SYMLINK_NOFOLLOW) == 0 ||
        renameat(a->root, old, a->root, dir) != 0) {
        log_warn("%s: the folder %s can't be given its name in modified UTF-7, %s", a->mail_dir,
                 old, dir);
        return;
    }
    log_info("%s: the folder %s is now called %s", a->mail_dir, old, dir);
    sys_step("import:folder");
    if (mailbox_open(a, to, &m) == 0) /* gives the row its new name */
        mailbox_close(&m);
}

int
import_folder_names(struct account *a)
{
    struct buf name = BUF_INIT(4 * MBOXNAME_MAX);
    struct name_list names = {0};
    size_t i;
    int err = folders_read(a, &names);

    if (err == 0)
        err = account_lock(a);
    for (i = 0; err == 0 && i < names.count; i++) {
        if (import_name(names.names[i], &name) && strcmp(buf_str(&name), names.names[i]) != 0)
            rename_folder(a, names.names[i], buf_str(&name));
    }
    account_unlock(a);
    name_list_free(&names);
    buf_free(&name);
    return err;
}

/* "INBOX.Sent" is Sent here. Shared folders and others' ("#shared.", "shared.") aren't ours. */
static void
add_subscribed(char *line, struct name_list *out)
{
    struct buf name = BUF_INIT(4 * MBOXNAME_MAX);

    line[strcspn(line, "\r")] = '\0';
    if (strcasecmp(line, "INBOX") == 0)
        name_list_add(out, "INBOX");
    else if (strncasecmp(line, "INBOX.", 6) == 0 && import_name(line + 6, &name))
        name_list_add(out, buf_str(&name));
    buf_free(&name);
}

/* Was Courier's file written after ours? */
static bool
is_younger(struct account *a)
{
    struct stat theirs, ours;

    if (fstatat(a->root, COURIER_SUBSCRIBED, &theirs, 0) != 0)
        return false;
    if (fstatat(a->root, SUBSCRIPTIONS_FILE, &ours, 0) != 0)
        return true;
    return theirs.st_mtim.tv_sec != ours.st_mtim.tv_sec
               ? theirs.st_mtim.tv_sec > ours.st_mtim.tv_sec
               : theirs.st_mtim.tv_nsec > ours.st_mtim.tv_nsec;
}

int
import_subscriptions(struct account *a, unsigned *added)
{
    struct buf b = BUF_INIT(SUBSCRIBED_MAX);
    struct name_list names = {0};
    unsigned count = 0;
    char *line, *next;
    int err = 0;

    if (is_younger(a))
        err = maildir_read_file(a->root, COURIER_SUBSCRIBED, &b);
    buf_addc(&b, '\0');
    for (line = b.data; err == 0 && line != NULL; line = next) {
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        add_subscribed(line, &names);
    }
    if (err == 0 && names.count > 0)
        err = account_lock(a);
    if (err == 0 && names.count > 0)
        err = subscriptions_add(a, &names, &count);
    account_unlock(a);
    if (added != NULL)
        *added = count;
    name_list_free(&names);
    buf_free(&b);
    return err == ERR_NOENT ? 0 : err;
}

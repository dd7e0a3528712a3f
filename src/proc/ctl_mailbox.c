/*
 * mansioctl mailbox: checking and rebuilding a user's index. The mail is opened as its owner,
 * in the same way as a session does; sessions may be open meanwhile.
 */
#include <stdio.h>

#include "base/err.h"
#include "proc/ctl.h"
#include "proc/ctl_owner.h"
#include "store/check.h"

typedef int mailbox_work(struct account *a, const char *folder, check_report *report,
                         void *ctx);

static void
print_finding(void *ctx, const char *folder, const char *text)
{
    (void)ctx;
    printf("%s: %s\n", folder, text);
}

static int
work_on(struct account *a, const char *folder, mailbox_work *work, int *found)
{
    struct buf internal = BUF_INIT(1);
    int status = 0;

    if (folder != NULL)
        status = ctl_folder_name(a, folder, &internal);
    if (status == 0) {
        *found = work(a, folder != NULL ? buf_str(&internal) : NULL, print_finding, NULL);
        if (*found < 0)
            status = ctl_fail(ctl_status_of(*found), "%s%s%s: %s", account_user(a),
                              folder != NULL ? ", " : "", folder != NULL ? folder : "",
                              err_text(*found));
    }
    buf_free(&internal);
    return status;
}

static int
run(struct ctl *ctl, int argc, char **argv, mailbox_work *work, int *found)
{
    struct account *a = NULL;
    int status;

    if (argc < 1 || argc > 2)
        return CTL_USAGE;
    status = ctl_owner_open_one(ctl->conf, argv[0], &a);
    if (status == 0)
        status = work_on(a, argc == 2 ? argv[1] : NULL, work, found);
    account_close(&a);
    return status;
}

int
ctl_mailbox_check(struct ctl *ctl, int argc, char **argv)
{
    int found = 0, status = run(ctl, argc, argv, mailbox_check, &found);

    if (status != 0)
        return status;
    if (found == 0)
        printf("no faults\n");
    else
        printf("%d %s; \"mansioctl mailbox rebuild %s\" repairs\n", found,
               found == 1 ? "fault" : "faults", argv[0]);
    return found == 0 ? CTL_OK : CTL_NO;
}

int
ctl_mailbox_rebuild(struct ctl *ctl, int argc, char **argv)
{
    int found = 0, status = run(ctl, argc, argv, mailbox_rebuild, &found);

    if (status == 0)
        printf("rebuilt\n");
    return status;
}

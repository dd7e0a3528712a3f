/*
 * Giving up root for good; see privilege.h. Doesn't decide who to become (conf) or where in a
 * process's life this happens (worker): invariant 1, no process that has read client bytes can
 * become root.
 *
 * The order matters: groups first, while there is still the right to set them, the uid last.
 * Then everything is read back and the way back is tried, because a kernel that fails to drop
 * (an odd container, kept capabilities) must not go unnoticed.
 */
#include <errno.h>
#include <grp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/log.h"
#include "net/privilege.h"

#define EXIT_SHORT  75 /* EX_TEMPFAIL: the master backs off */
#define EXIT_CONFIG 78 /* EX_CONFIG: the master stops the service */

static _Noreturn void
failed(const char *what)
{
    int saved = errno;

    log_fatal(saved == EAGAIN || saved == ENOMEM ? EXIT_SHORT : EXIT_CONFIG,
              "can't give up root: %s: %s", what, strerror(saved));
}

static bool
ids_are(uid_t uid, gid_t gid)
{
    uid_t ru, eu, su;
    gid_t rg, eg, sg;

    if (getresuid(&ru, &eu, &su) != 0 || getresgid(&rg, &eg, &sg) != 0)
        failed("reading the ids");
    return ru == uid && eu == uid && su == uid && rg == gid && eg == gid && sg == gid;
}

static void
verify(uid_t uid, gid_t gid)
{
    if (!ids_are(uid, gid))
        log_fatal(EXIT_CONFIG, "can't give up root: the ids didn't change to %lu:%lu",
                  (unsigned long)uid, (unsigned long)gid);
    if (getgroups(0, NULL) != 0)
        log_fatal(EXIT_CONFIG, "can't give up root: supplementary groups are left");
    if (setuid(0) == 0 || seteuid(0) == 0 || setresuid((uid_t)-1, 0, (uid_t)-1) == 0)
        log_fatal(EXIT_CONFIG, "can't give up root: it could be taken back; are capabilities "
                               "kept on purpose?");
    if (gid != 0 && (setgid(0) == 0 || setegid(0) == 0))
        log_fatal(EXIT_CONFIG, "can't give up root: its group could be taken back");
    if (setgroups(1, &gid) == 0)
        log_fatal(EXIT_CONFIG, "can't give up root: groups can still be set");
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
        log_fatal(EXIT_CONFIG, "can't give up root: no_new_privs isn't set");
}

void
privilege_drop(uid_t uid, gid_t gid)
{
    if (geteuid() != 0) {
        if (!ids_are(uid, gid))
            log_fatal(EXIT_CONFIG,
                      "not started as root, so can't become %lu:%lu; start as root, or as that "
                      "user",
                      (unsigned long)uid, (unsigned long)gid);
        return;
    }
    if (uid == 0)
        log_fatal(EXIT_CONFIG, "mail can't be served as root: set mail_user and auth_user to "
                               "unprivileged accounts");
    if (setgroups(0, NULL) != 0)
        failed("setgroups");
    if (setresgid(gid, gid, gid) != 0)
        failed("setresgid");
    if (setresuid(uid, uid, uid) != 0)
        failed("setresuid");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        failed("no_new_privs");
    verify(uid, gid);
}

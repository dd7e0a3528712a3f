/*
 * mansioctl quota: how much users may keep, and how much there is. The same count that refuses
 * their messages: by maildirsize, if the user has a limit, else the Maildir is counted.
 */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "proc/ctl.h"
#include "proc/ctl_owner.h"
#include "store/quota.h"

static void
add_number(struct buf *out, uint64_t n, bool known)
{
    if (known)
        buf_addf(out, " %llu", (unsigned long long)n);
    else
        buf_adds(out, " -");
}

/* Percent, rounded down: 100 is full. */
static uint64_t
part_of(uint64_t used, uint64_t limit)
{
    if (limit == 0)
        return 0;
    return used > UINT64_MAX / 100 ? used / (limit / 100 + 1) : used * 100 / limit;
}

static void
add_row(struct buf *out, const char *user, const struct quota_usage *u)
{
    uint64_t octets = part_of(u->bytes, u->limit.bytes);
    uint64_t messages = part_of(u->messages, u->limit.messages);

    buf_addf(out, "%s %llu", user, (unsigned long long)u->bytes);
    add_number(out, u->limit.bytes, u->limit.bytes != 0);
    buf_addf(out, " %llu", (unsigned long long)u->messages);
    add_number(out, u->limit.messages, u->limit.messages != 0);
    if (quota_is_none(&u->limit))
        buf_adds(out, " -\n");
    else
        buf_addf(out, " %llu%%\n", (unsigned long long)(octets > messages ? octets : messages));
}

/* A user who never logged in has nothing, and is given no Maildir by being looked at. */
static int
usage_of(const struct conf *conf, const struct ctl_owner *o, bool anew, struct quota_usage *u)
{
    const char *text = o->quota[0] != '\0' ? o->quota : conf->quota;
    struct account *a;
    bool has;
    int status = ctl_owner_has_mail(conf, o, &has), err;

    memset(u, 0, sizeof *u);
    if (status != 0)
        return status;
    if (!has) {
        if (text[0] != '\0')
            (void)quota_parse(text, &u->limit);
        return 0;
    }
    status = ctl_owner_open(conf, o, &a);
    if (status != 0)
        return status;
    err = anew ? quota_recount(a, u) : quota_usage(a, u);
    account_close(&a);
    return err == 0 ? 0
                    : ctl_fail(ctl_status_of(err), "the mail of %s can't be counted: %s",
                               o->name, err_text(err));
}

int
ctl_quota(struct ctl *ctl, int argc, char **argv)
{
    bool anew = argc > 0 && strcmp(argv[0], "-r") == 0;
    struct buf out = BUF_INIT((size_t)1 << 30);
    struct ctl_owners owners;
    struct quota_usage u;
    int status, failed = 0;

    if (argc > anew && argv[anew][0] == '-')
        return CTL_USAGE;
    status = ctl_owners_find(ctl->conf, argv + anew, (size_t)(argc - anew), &owners);
    if (status == 0)
        status = ctl_become_mail_user(ctl->conf);
    buf_adds(&out, "user octets max-octets messages max-messages used\n");
    for (size_t i = 0; status == 0 && i < owners.count; i++) {
        int one = usage_of(ctl->conf, &owners.items[i], anew, &u);

        if (one == 0)
            add_row(&out, owners.items[i].name, &u);
        else
            failed = one; /* the others are shown all the same */
    }
    if (status == 0) {
        buf_str(&out);
        ctl_print_table(out.data);
    }
    ctl_owners_free(&owners);
    buf_free(&out);
    return status != 0 ? status : failed;
}

/*
 * index_dump MAILDIR: what the index of a Maildir says, for tests that compare it with the
 * files and with what clients are told. Looks at no mail, changes nothing. A line each:
 *
 *     M id uidvalidity uidnext highestmodseq messages unseen folder
 *     K slot keyword
 *     m uid modseq flags keywords in_new size name        (flags and keywords: hexadecimal)
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/err.h"
#include "store/account_private.h"

struct folders {
    char **names;
    size_t count;
};

static int
add_name(void *ctx, const char *name, const struct index_mailbox *row)
{
    struct folders *f = ctx;

    (void)row;
    f->names = mem_reallocarray(f->names, f->count + 1, sizeof *f->names);
    f->names[f->count++] = mem_strdup(name);
    return 0;
}

static int
print_message(void *ctx, const struct index_message *m)
{
    (void)ctx;
    printf("m %u %" PRIu64 " %x %" PRIx64 " %d %" PRIu64 " %s\n", m->uid, m->modseq, m->flags,
           m->keywords, m->in_new, m->size, m->name);
    return 0;
}

static int
print_mailbox(struct index *ix, const char *name)
{
    struct index_mailbox row;
    int i, err = index_mailbox_get(ix, name, &row);

    if (err < 0)
        return err;
    printf("M %u %u %u %" PRIu64 " %u %u %s\n", row.id, row.uidvalidity, row.uidnext,
           row.highestmodseq, row.messages, row.unseen, name);
    for (i = 0; i < row.keywords_count; i++) {
        if (row.keywords[i][0] != '\0')
            printf("K %d %s\n", i, row.keywords[i]);
    }
    return index_message_each(ix, row.id, 1, UINT32_MAX, print_message, NULL);
}

int
main(int argc, char **argv)
{
    struct conf *conf = conf_defaults();
    struct account_params p = {.conf = conf, .user = "dump", .home = ""};
    struct folders f = {NULL, 0};
    struct account *a;
    size_t i;
    int err;

    if (argc != 2) {
        fprintf(stderr, "usage: index_dump MAILDIR\n");
        return 64;
    }
    p.mail_location = argv[1];
    err = account_open(&p, &a);
    if (err == 0)
        err = account_lock(a);
    if (err == 0)
        err = index_mailbox_each(a->ix, add_name, &f);
    for (i = 0; err == 0 && i < f.count; i++)
        err = print_mailbox(a->ix, f.names[i]);
    if (err < 0) {
        fprintf(stderr, "%s: %s\n", argv[1], err_text(err));
        return 1;
    }
    account_close(&a);
    for (i = 0; i < f.count; i++)
        free(f.names[i]);
    free(f.names);
    conf_free(&conf);
    return fflush(stdout) == 0 ? 0 : 1;
}

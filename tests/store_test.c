/*
 * Shared by the tests of the store; see store_test.h.
 */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "store/maildir.h"
#include "store_test.h"
#include "valgrind_test.h"

char store_dir[256];
static char top[200];
static struct conf *conf;

static int
remove_dir(const char *path)
{
    return maildir_remove_tree(AT_FDCWD, path);
}

void
store_setup(void)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(top, sizeof top, "%s/mansio-store.XXXXXX", tmp != NULL ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(top));
    snprintf(store_dir, sizeof store_dir, "%s/Maildir", top);
    conf = conf_defaults();
    free(conf->auto_folders);
    conf->auto_folders = mem_strdup("");
}

void
store_teardown(void)
{
    conf_free(&conf);
    ck_assert_int_eq(remove_dir(top), 0);
}

void
store_warm_up(void)
{
    static const char text[] = "Subject: x\n\nx\n";
    struct account *a;
    struct view *v;

    if (!under_valgrind())
        return;
    store_setup();
    a = store_open();
    (void)neighbour_deliver(store_dir, text);
    (void)store_append(a, "INBOX", text, 0, NULL);
    ck_assert_int_eq(view_open(a, "INBOX", 0, &v), 0);
    ck_assert_int_eq(store_flags(v, "1", STORE_ADD, MSG_SEEN), 0);
    view_close(&v);
    account_close(&a);
    store_teardown();
}

struct conf *
store_conf(void)
{
    return conf;
}

struct account *
store_open(void)
{
    struct account_params p = {
        .conf = conf, .user = "ann", .home = "", .mail_location = store_dir};
    struct account *a;

    ck_assert_int_eq(account_open(&p, &a), 0);
    return a;
}

void
neighbour_put(const char *dir, const char *part, const char *name, const char *text)
{
    char path[800];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s/%s", dir, part, name);
    f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

const char *
neighbour_deliver(const char *dir, const char *text)
{
    static char name[64];
    static int n;
    char from[800], to[800];

    snprintf(name, sizeof name, "%d.M%dP1.neighbour", 1700000000 + n, n);
    n++;
    neighbour_put(dir, "tmp", name, text);
    snprintf(from, sizeof from, "%s/tmp/%s", dir, name);
    snprintf(to, sizeof to, "%s/new/%s", dir, name);
    ck_assert_int_eq(rename(from, to), 0);
    return name;
}

void
neighbour_rename(const char *dir, const char *from, const char *to)
{
    char x[800], y[800];

    snprintf(x, sizeof x, "%s/%s", dir, from);
    snprintf(y, sizeof y, "%s/%s", dir, to);
    ck_assert_msg(rename(x, y) == 0, "%s -> %s", x, y);
}

void
neighbour_remove(const char *dir, const char *name)
{
    char path[800];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    ck_assert_msg(unlink(path) == 0, "%s", path);
}

int
files_in(const char *dir, const char *part)
{
    char path[800];
    struct dirent *e;
    int n = 0;
    DIR *d;

    snprintf(path, sizeof path, "%s/%s", dir, part);
    d = opendir(path);
    ck_assert_ptr_nonnull(d);
    while ((e = readdir(d)) != NULL)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

const char *
name_in_cur(const char *dir, const char *prefix)
{
    static char name[300];
    char path[800];
    struct dirent *e;
    DIR *d;

    snprintf(path, sizeof path, "%s/cur", dir);
    d = opendir(path);
    name[0] = '\0';
    ck_assert_ptr_nonnull(d);
    while ((e = readdir(d)) != NULL) {
        if (e->d_name[0] != '.' && strncmp(e->d_name, prefix, strlen(prefix)) == 0)
            snprintf(name, sizeof name, "%s", e->d_name);
    }
    closedir(d);
    ck_assert_msg(name[0] != '\0', "no file %s* in %s", prefix, path);
    return name;
}

void
settle(void)
{
    usleep(1100 * 1000);
}

struct text {
    struct source source;
    const char *p;
    size_t left;
};

static ssize_t
read_text(struct source *s, void *p, size_t n)
{
    struct text *t = (struct text *)s;

    /* odd pieces, so that line ends fall between two */
    if (n > 1000003)
        n = 1000003;
    if (t->left < 4096 && n > 7)
        n = 7;
    if (n > t->left)
        n = t->left;
    memcpy(p, t->p, n);
    t->p += n;
    t->left -= n;
    return (ssize_t)n;
}

struct source *
text_source(const char *text, size_t len)
{
    static struct text t;

    t.source.read = read_text;
    t.p = text;
    t.left = len;
    return &t.source;
}

uint32_t
store_append(struct account *a, const char *folder, const char *text, unsigned flags,
             const char *const *keywords)
{
    struct flag_set set = {.flags = flags, .keywords = keywords};
    struct append *ap;
    uint32_t uidvalidity, uid;

    while (keywords != NULL && keywords[set.keywords_count] != NULL)
        set.keywords_count++;
    ck_assert_int_eq(append_begin(a, folder, &ap), 0);
    ck_assert_int_eq(append_add(ap, text_source(text, strlen(text)), &set, INT64_MIN), 0);
    ck_assert_int_eq(append_commit(&ap, &uidvalidity, &uid), 0);
    ck_assert_uint_ne(uid, 0);
    ck_assert_uint_ne(uidvalidity, 0);
    return uid;
}

struct seqset
uid_set(const char *text)
{
    struct seqset s;

    seqset_init(&s);
    ck_assert_int_eq(seqset_parse(text, strlen(text), UINT32_MAX, 100000, &s), 0);
    return s;
}

struct index_message
message_row(struct view *v, uint32_t uid)
{
    struct view_batch *b = view_batch_new();
    struct seqset_iter it = {0, 0};
    struct index_message m;
    struct seqset s;

    seqset_init(&s);
    seqset_add(&s, uid, uid);
    ck_assert_int_eq(view_read(v, &s, &it, 0, b), 0);
    ck_assert_msg(b->count == 1, "UID %u isn't in the view", uid);
    ck_assert_msg(!b->items[0].gone, "UID %u is gone", uid);
    m = b->items[0].m;
    view_batch_free(&b);
    seqset_free(&s);
    return m;
}

struct buf_sink {
    struct sink sink;
    struct buf b;
};

static int
write_buf(struct sink *s, const void *p, size_t n)
{
    buf_add(&((struct buf_sink *)s)->b, p, n);
    return 0;
}

char *
message_text(struct view *v, uint32_t uid, size_t *len)
{
    struct index_message row = message_row(v, uid);
    struct buf_sink sink = {.sink = {write_buf}, .b = BUF_INIT(1u << 30)};
    struct message *m;
    int64_t n;

    if (view_message_open(v, &row, &m) < 0)
        return NULL;
    n = message_send(m, 0, message_size(m), 0, UINT64_MAX, &sink.sink);
    ck_assert_int_eq(n, (int64_t)sink.b.len);
    message_close(&m);
    buf_addc(&sink.b, '\0');
    *len = sink.b.len - 1;
    return sink.b.data;
}

void
sync_quietly(struct view *v)
{
    struct view_changes c;

    ck_assert_int_eq(view_sync(v, true, &c), 0);
    view_changes_free(&c);
}

const char *
view_text(struct view *v)
{
    static const struct {
        unsigned flag;
        char letter;
    } letters[] = {{MSG_DRAFT, 'D'},    {MSG_FLAGGED, 'F'}, {MSG_PASSED, 'P'},
                   {MSG_ANSWERED, 'R'}, {MSG_SEEN, 'S'},    {MSG_DELETED, 'T'}};
    static struct buf out = BUF_INIT(1 << 20);
    struct view_batch *b = view_batch_new();
    struct seq_range every = {1, UINT32_MAX};
    struct seqset all = {.ranges = &every, .count = 1, .cap = 1};
    struct seqset_iter it = {0, 0};
    size_t i, j;

    buf_reset(&out);
    for (;;) {
        ck_assert_int_eq(view_read(v, &all, &it, 0, b), 0);
        if (b->count == 0)
            break;
        for (i = 0; i < b->count; i++) {
            if (out.len > 0)
                buf_addc(&out, ' ');
            buf_addu(&out, b->items[i].m.uid);
            if (b->items[i].gone)
                buf_addc(&out, '-');
            for (j = 0; !b->items[i].gone && j < 6; j++) {
                if (b->items[i].m.flags & letters[j].flag)
                    buf_addc(&out, letters[j].letter);
            }
        }
    }
    view_batch_free(&b);
    return buf_str(&out);
}

int
store_flags(struct view *v, const char *uids, enum store_op op, unsigned flags)
{
    struct flag_set set = {.flags = flags};
    struct seqset s = uid_set(uids);
    int err = view_store(v, &s, op, &set, UINT64_MAX, NULL, NULL, NULL);

    seqset_free(&s);
    return err;
}

/*
 * Can the files of an index be what we wrote? Two looks: at their beginnings, before an
 * environment is joined, and at every record, when recovery has reason to doubt. What is found
 * to be wrong leads to index_recover.c's next step; nothing is changed here.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "store/index_impl.h"
#include "store/index_page.h"

#define LOG_MAGIC 0x00040988u /* fourth word of a log file */

/* Does the file begin as a file of ours does? */
bool
ix_file_begins_well(int dirfd, const char *name)
{
    unsigned char head[512];
    uint32_t page_size;
    struct stat st;
    int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool short_of = fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM);
    bool well = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
                pread(fd, head, sizeof head, 0) == (ssize_t)sizeof head;

    if (fd >= 0)
        close(fd);
    if (!well)
        return short_of; /* that says nothing about the file */
    memcpy(&page_size, head + 20, sizeof page_size);
    return page_size >= sizeof head && page_size <= 65536 && st.st_size >= page_size &&
           st.st_size % page_size == 0 && page_ok(head, page_size, 0, false);
}

/* Does the newest log file begin as Berkeley DB's do? False if there's none. */
static bool
log_begins_well(int dirfd)
{
    char newest[64] = "";
    uint32_t head[4] = {0};
    struct dirent *entry;
    int fd = dup(dirfd);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return true; /* short of descriptors, not damaged */
    }
    for (long i = 0; i < INDEX_ENTRIES_MAX && (entry = readdir(dir)) != NULL; i++) {
        if (strncmp(entry->d_name, "log.", 4) == 0 && strlen(entry->d_name) < sizeof newest &&
            strcmp(entry->d_name, newest) > 0)
            memcpy(newest, entry->d_name, strlen(entry->d_name) + 1);
    }
    closedir(dir);
    fd = newest[0] != '\0' ? openat(dirfd, newest, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    if (fd < 0)
        return newest[0] != '\0' && errno != ENOENT;
    if (pread(fd, head, sizeof head, 0) != (ssize_t)sizeof head)
        head[3] = 0;
    close(fd);
    return head[3] == LOG_MAGIC;
}

bool
ix_looks_well(struct index *ix)
{
    int fd = openat(ix->dirfd, INDEX_DB_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool well;

    if (fd < 0)
        return errno != ENOENT && errno != ENOTDIR;
    well = log_begins_well(fd);
    for (int i = 0; well && i < KV_FILES; i++)
        well = ix_file_begins_well(fd, kv_file_names[i]);
    close(fd);
    return well;
}

/* Is every record readable, and does every one make sense? */
static int
check_control_file(void *ctx, struct kv_slice key, struct kv_slice value)
{
    struct index_mailbox row;
    const char *k = key.p;

    (void)ctx;
    if (key.len > 1 && k[0] == 'n')
        return row_decode(value, &row);
    if (key.len > 5 && k[0] == 'v')
        return value.len == 4 ? 0 : ERR_CORRUPT;
    return key.len == 5 && k[0] == 'i' ? 0 : (key.len == 1 && k[0] == 'c' ? 0 : ERR_CORRUPT);
}

static int
check_message(void *ctx, uint32_t uid, struct kv_slice record)
{
    struct index_message m;

    (void)ctx;
    return message_decode(record, uid, &m);
}

static int
check_message_file(void *ctx, struct kv_slice key, struct kv_slice value)
{
    struct index_anchor a;

    (void)ctx;
    if (key.len != KEY_MESSAGE_SIZE)
        return ERR_CORRUPT;
    if (be32_read((const unsigned char *)key.p + 4) == 0)
        return anchor_decode(value, be32_read(key.p), &a);
    return block_each(key, value, check_message, NULL);
}

static int
check_change_file(void *ctx, struct kv_slice key, struct kv_slice value)
{
    uint32_t last = 0, a, b;
    int err = 0;

    (void)ctx;
    if (key.len != KEY_CHANGE_SIZE || ((const unsigned char *)key.p)[12] > CHANGE_EXPUNGED)
        return ERR_CORRUPT;
    while (err == 0)
        err = ranges_next(&value, &last, &a, &b);
    return err == ERR_EOF ? 0 : err;
}

static int
check_cache_file(void *ctx, struct kv_slice key, struct kv_slice value)
{
    (void)ctx;
    (void)value;
    return key.len == KEY_MESSAGE_SIZE ? 0 : ERR_CORRUPT;
}

static int
count_message(void *ctx, uint32_t uid, struct kv_slice record)
{
    (void)uid;
    (void)record;
    ++*(uint32_t *)ctx;
    return 0;
}

static int
count_record(void *ctx, struct kv_slice key, struct kv_slice value)
{
    if (key.len == KEY_MESSAGE_SIZE && be32_read((const unsigned char *)key.p + 4) == 0)
        return 0; /* an anchor */
    return block_each(key, value, count_message, ctx);
}

/* Has the mailbox as many messages as its row says? What was cut off at the end of a page can
   be read all the same. */
static int
check_count(void *ctx, struct kv_slice key, struct kv_slice value)
{
    unsigned char pair[KEY_MESSAGE_SIZE];
    struct index *ix = ctx;
    struct index_mailbox row;
    uint32_t count = 0;
    int err;

    if (key.len < 2 || *(const char *)key.p != 'n')
        return 0;
    err = row_decode(value, &row);
    if (err != 0)
        return err;
    key_message(pair, row.id, 0);
    err = kv_scan(ix->kv, KV_MESSAGES, slice(pair, 4), slice(pair, 4), count_record, &count);
    return err == 0 && count != row.messages ? ERR_CORRUPT : err;
}

int
ix_read_everything(struct index *ix)
{
    static kv_fn *const checks[KV_FILES] = {check_control_file, check_message_file,
                                            check_change_file, check_cache_file};
    int err = 0;

    for (int i = 0; i < KV_FILES && err == 0; i++)
        err = kv_scan(ix->kv, (enum kv_file)i, slice("", 0), slice("", 0), checks[i], NULL);
    if (err == 0)
        err = kv_scan(ix->kv, KV_MAILBOXES, slice("", 0), slice("", 0), check_count, ix);
    return err;
}

/*
 * Whole IMAP sessions: the input is what a client sends, all at once. Unless it begins with
 * '!', which is left out, a login goes before it. Any user may log in with any password, to a
 * Maildir in a temporary directory that is made anew for each input; TLS isn't configured. The
 * login functions are defined here, so the library's aren't linked.
 */
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "auth/session.h"
#include "base/conf.h"
#include "base/log.h"
#include "base/sys.h"
#include "imap/imap.h"

#define SENT_MAX 8192 /* octets of the input that are used: what a socket surely holds */
#define TREE_FDS 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
long fuzz_mutations(void);

/* A session costs more than a parser. */
long
fuzz_mutations(void)
{
    return 20;
}

static char root[64], maildir[80];

bool
session_plaintext_ok(const struct session *s)
{
    (void)s;
    return true;
}

enum login_result
session_login(struct session *s, struct credentials *c)
{
    struct account_params params = {
        .conf = s->conf, .user = "ann", .home = "", .mail_location = maildir};

    if (c->user_len == 0 || c->password_len == 0)
        return LOGIN_FAILED;
    memset(c->password, 0, c->password_len); /* as the real one: it must be writable */
    return account_open(&params, &s->account) == 0 ? LOGIN_OK : LOGIN_BROKEN;
}

void
session_end(struct session *s)
{
    account_close(&s->account);
}

static void
quiet(enum log_level level, const char *line)
{
    (void)level;
    (void)line;
}

static int
no_fsync(int fd)
{
    (void)fd;
    return 0;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    return where->level > 0 ? remove(path) : 0;
}

static void
empty_root(void)
{
    if (nftw(root, remove_one, TREE_FDS, FTW_DEPTH | FTW_PHYS) != 0)
        abort();
}

static void
clean_up(void)
{
    empty_root();
    rmdir(root);
}

static void
deliver(const struct conf *conf)
{
    static const char *const texts[] = {
        "Subject: one\nFrom: \"A \\\" B\" <a@b>, g: x@y;\nDate: Mon, 7 Feb 1994 21:52:25 "
        "-0800\n"
        "\nhello\n",
        "no header",
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\ntext\n--b\n"
        "Content-Type: message/rfc822\n\nSubject: =?utf-8?q?=C3=A9?= \xe9\n\ninner\n--b--\n"};
    struct account_params params = {
        .conf = conf, .user = "ann", .home = "", .mail_location = maildir};
    struct account *a;
    char path[160];
    unsigned i;
    int fd;

    empty_root();
    if (account_open(&params, &a) < 0)
        abort();
    account_close(&a);
    for (i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/new/170000000%u.M1P1.test", maildir, i);
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
        if (fd < 0 || write(fd, texts[i], strlen(texts[i])) < 0)
            abort();
        close(fd);
    }
}

static struct conf *
prepare(void)
{
    struct conf *conf = conf_defaults();

    conf->login_max_bad_commands = 20;
    conf->max_bad_commands = 100;
    conf->auto_folders[0] = '\0'; /* an account is made quicker without */
    log_hook = quiet;
    sys_hooks.fsync = no_fsync;
    snprintf(root, sizeof root, "/tmp/fuzz_imap.XXXXXX");
    if (mkdtemp(root) == NULL)
        abort();
    snprintf(maildir, sizeof maildir, "%s/Maildir", root);
    atexit(clean_up);
    return conf;
}

/* The client reads, or the server would wait for it. */
static void *
read_all(void *arg)
{
    char scratch[4096];

    while (read(*(const int *)arg, scratch, sizeof scratch) > 0)
        continue;
    return NULL;
}

static void
send_input(int fd, const uint8_t *data, size_t size)
{
    static const char login[] = "l LOGIN ann x\r\n";

    if (size > 0 && data[0] == '!') {
        data++;
        size--;
    } else if (write(fd, login, sizeof login - 1) < 0) {
        abort();
    }
    if (write(fd, data, size < SENT_MAX ? size : SENT_MAX) < 0)
        abort();
    shutdown(fd, SHUT_WR);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct conf *conf;
    struct session s = {.service = "imap", .local = "test", .auth_fd = -1, .id = "fuzz"};
    pthread_t reader;
    int fd[2];

    if (conf == NULL)
        conf = prepare();
    deliver(conf);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) < 0 ||
        pthread_create(&reader, NULL, read_all, &fd[1]) != 0)
        abort();
    send_input(fd[1], data, size);
    s.conf = conf;
    s.stream = stream_new(fd[0], 1);
    s.started_ms = sys_monotonic_ms();
    imap_session(&s);
    stream_free(&s.stream);
    pthread_join(reader, NULL);
    close(fd[1]);
    return 0;
}

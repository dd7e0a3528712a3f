/*
 * Whole POP3 sessions: the input is what a client sends, all at once. Any user may log in with
 * any password, to a Maildir in a temporary directory that is filled again when a QUIT emptied
 * it; TLS isn't configured. The login functions are defined here, so the library's aren't
 * linked.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auth/session.h"
#include "base/conf.h"
#include "base/log.h"
#include "base/sys.h"
#include "pop3/pop3.h"

#define SENT_MAX 4096 /* octets of the input that are used: what a socket surely holds */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
long fuzz_mutations(void);

/* A session costs more than a parser. */
long
fuzz_mutations(void)
{
    return 200;
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

static void
clean_up(void)
{
    pid_t pid = fork();

    if (pid == 0)
        execlp("rm", "rm", "-rf", root, (char *)NULL);
    waitpid(pid, NULL, 0);
}

static void
deliver(const struct conf *conf)
{
    static const char *const texts[] = {"Subject: one\n\n.first\n..\n", "no header",
                                        "A: b\r\n\r\nx\r\n.\r\ny"};
    struct account_params params = {
        .conf = conf, .user = "ann", .home = "", .mail_location = maildir};
    struct account *a;
    char path[160];
    unsigned i;
    int fd;

    if (root[0] == '\0') {
        snprintf(root, sizeof root, "/tmp/fuzz_pop3.XXXXXX");
        if (mkdtemp(root) == NULL)
            abort();
        snprintf(maildir, sizeof maildir, "%s/Maildir", root);
        atexit(clean_up);
        if (account_open(&params, &a) < 0)
            abort();
        account_close(&a);
    }
    for (i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/new/170000000%u.M1P1.test", maildir, i);
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
        if (fd < 0)
            continue; /* still there */
        if (write(fd, texts[i], strlen(texts[i])) < 0)
            abort();
        close(fd);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct conf *conf;
    struct session s = {.service = "pop3", .local = "test", .auth_fd = -1, .id = "fuzz"};
    int fd[2];

    if (conf == NULL) {
        conf = conf_defaults();
        conf->pop3_apop = true;
        conf->login_max_bad_commands = 20;
        log_hook = quiet;
        sys_hooks.fsync = no_fsync;
    }
    deliver(conf);
    size = size < SENT_MAX ? size : SENT_MAX;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) < 0 || write(fd[1], data, size) < 0)
        abort();
    shutdown(fd[1], SHUT_WR);
    s.conf = conf;
    s.stream = stream_new(fd[0], 1);
    s.started_ms = sys_monotonic_ms();
    pop3_session(&s);
    stream_free(&s.stream);
    close(fd[1]);
    return 0;
}

/*
 * mansioctl's commands that ask the running server, over run_dir/control; see control.c for
 * what is said there.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "proc/ctl.h"

#define ANSWER_SIZE  ((size_t)64 * 1024 * 1024)
#define WAIT_SECONDS 30

static int
not_running(const struct sockaddr_un *addr)
{
    if (errno == EACCES || errno == EPERM)
        return ctl_fail(CTL_PERMISSION,
                        "%s: not permitted; be root, or the user that started mansiod",
                        addr->sun_path);
    return ctl_fail(CTL_NOT_RUNNING, "mansiod isn't running (%s: %s)", addr->sun_path,
                    strerror(errno));
}

static int
connect_control(const struct conf *conf, unsigned wait_s, int *out)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct timeval wait = {.tv_sec = (time_t)wait_s};
    int n = snprintf(addr.sun_path, sizeof addr.sun_path, "%s/control", conf->run_dir);
    int fd, status;

    if (n < 0 || (size_t)n >= sizeof addr.sun_path)
        return ctl_fail(CTL_CONFIG, "run_dir is too long: %s", conf->run_dir);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return ctl_fail(CTL_TEMPORARY, "socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    if (connect(fd, (struct sockaddr *)&addr, sizeof addr) < 0) {
        status = not_running(&addr);
        close(fd);
        return status;
    }
    *out = fd;
    return 0;
}

/* Everything up to the server's end of the connection. */
static int
receive(int fd, struct buf *answer)
{
    char piece[8192];
    ssize_t n;

    while ((n = recv(fd, piece, sizeof piece, 0)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == ECONNRESET)
            break;
        if (n < 0)
            return ctl_fail(CTL_TEMPORARY, "no answer from mansiod: %s", strerror(errno));
        buf_add(answer, piece, (size_t)n);
    }
    return buf_ok(answer) ? 0 : ctl_fail(CTL_TEMPORARY, "the answer is too long");
}

/* Takes the answer apart: the lines without "* " into data, the last line's text into last. */
static int
take_apart(struct buf *answer, struct buf *data, struct buf *last)
{
    const char *pos = buf_str(answer);
    int status = CTL_PERMISSION;

    while (*pos != '\0') {
        size_t len = strcspn(pos, "\n");

        if (strncmp(pos, "* ", 2) == 0) {
            buf_add(data, pos + 2, len - 2);
            buf_addc(data, '\n');
        } else if (len >= 2) {
            size_t word = strcspn(pos, " \n");

            status = strncmp(pos, "OK", 2) == 0 ? CTL_OK : CTL_NO;
            if (word < len)
                buf_add(last, pos + word + 1, len - word - 1);
        }
        pos += len + (pos[len] == '\n');
    }
    if (status == CTL_PERMISSION)
        ctl_fail(status, "mansiod didn't answer; be root, or the user that started it");
    return status;
}

/* Says `line`, gives the data lines and the last one. Returns an exit status. */
static int
ask(const struct conf *conf, const char *line, const char *argument, unsigned wait_s,
    struct buf *data, struct buf *last)
{
    struct buf rq = BUF_INIT(2048), answer = BUF_INIT(ANSWER_SIZE);
    int fd = -1, status;

    buf_init(data, ANSWER_SIZE);
    buf_init(last, 1024);
    status = connect_control(conf, wait_s, &fd);
    if (status != 0)
        return status;
    buf_addf(&rq, "%s%s%s\n", line, argument != NULL ? " " : "",
             argument != NULL ? argument : "");
    if (!buf_ok(&rq) || (argument != NULL && strchr(argument, '\n') != NULL))
        status = CTL_USAGE;
    else if (send(fd, rq.data, rq.len, MSG_NOSIGNAL) != (ssize_t)rq.len && errno != EPIPE)
        status =
            ctl_fail(CTL_TEMPORARY, "mansiod doesn't take the command: %s", strerror(errno));
    if (status == 0)
        status = receive(fd, &answer);
    if (status == 0)
        status = take_apart(&answer, data, last);
    close(fd);
    buf_free(&rq);
    buf_free(&answer);
    return status;
}

static void
forget(struct buf *data, struct buf *last)
{
    buf_free(data);
    buf_free(last);
}

int
ctl_status(struct ctl *ctl, int argc, char **argv)
{
    struct buf data, last;
    char *table;
    int status;

    (void)argv;
    if (argc != 0)
        return CTL_USAGE;
    status = ask(ctl->conf, "status", NULL, WAIT_SECONDS, &data, &last);
    if (status == CTL_OK) {
        printf("state %s\n", buf_str(&last));
        buf_str(&data);
        table = strstr(data.data, "service state ");
        if (table == NULL)
            fputs(data.data, stdout);
        else
            printf("%.*s\n", (int)(table - data.data), data.data);
        if (table != NULL)
            ctl_print_table(table);
    }
    forget(&data, &last);
    return status;
}

int
ctl_who(struct ctl *ctl, int argc, char **argv)
{
    struct buf data, last;
    int status;

    (void)argv;
    if (argc != 0)
        return CTL_USAGE;
    status = ask(ctl->conf, "who", NULL, WAIT_SECONDS, &data, &last);
    if (status == CTL_OK) {
        buf_str(&data);
        ctl_print_table(data.data);
    }
    forget(&data, &last);
    return status;
}

/* A command whose answer is its last line. */
static int
tell(struct ctl *ctl, const char *line, const char *argument, unsigned wait_s)
{
    struct buf data, last;
    int status = ask(ctl->conf, line, argument, wait_s, &data, &last);

    if (data.len > 0)
        fprintf(stderr, "%s", buf_str(&data));
    if (status == CTL_OK)
        printf("%s\n", buf_str(&last));
    else if (status == CTL_NO)
        ctl_fail(status, "%s", buf_str(&last));
    forget(&data, &last);
    return status;
}

int
ctl_kick(struct ctl *ctl, int argc, char **argv)
{
    return argc == 1 ? tell(ctl, "kick", argv[0], WAIT_SECONDS) : CTL_USAGE;
}

int
ctl_reload(struct ctl *ctl, int argc, char **argv)
{
    int status;

    (void)argv;
    if (argc != 0)
        return CTL_USAGE;
    status = tell(ctl, "reload", NULL, WAIT_SECONDS);
    return status == CTL_NO ? CTL_CONFIG : status;
}

int
ctl_reopen(struct ctl *ctl, int argc, char **argv)
{
    (void)argv;
    return argc == 0 ? tell(ctl, "reopen", NULL, WAIT_SECONDS) : CTL_USAGE;
}

/* The server ends the connection when it has stopped. */
int
ctl_stop(struct ctl *ctl, int argc, char **argv)
{
    struct buf data, last;
    int status;

    (void)argv;
    if (argc != 0)
        return CTL_USAGE;
    status =
        ask(ctl->conf, "stop", NULL, ctl->conf->shutdown_grace + WAIT_SECONDS, &data, &last);
    if (status == CTL_OK)
        printf("stopped\n");
    forget(&data, &last);
    return status;
}

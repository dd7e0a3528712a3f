/*
 * Passwords for mansioctl: from the terminal with the echo off, or a line of the standard
 * input. Never from the command line, where every user of the machine could read it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "auth/password.h"
#include "proc/ctl.h"

/* The signal that came while the echo was off. */
static volatile sig_atomic_t caught;

static void
on_signal(int sig)
{
    caught = sig;
}

/* One line without its end. Its length, or -1: end of file, a signal, or too long. */
static ssize_t
read_line(int fd, char *line, size_t size)
{
    size_t n = 0;
    ssize_t got;
    char c;

    while ((got = read(fd, &c, 1)) == 1 && c != '\n') {
        if (n + 1 >= size)
            return -1;
        line[n++] = c;
    }
    if (got < 0 || (got == 0 && n == 0))
        return -1;
    if (n > 0 && line[n - 1] == '\r')
        n--;
    line[n] = '\0';
    return (ssize_t)n;
}

static ssize_t
prompt(int fd, const char *text, char *line, size_t size)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
    struct sigaction sa = {.sa_handler = on_signal}, old[sizeof signals / sizeof signals[0]];
    struct termios before, silent;
    ssize_t n;

    if (tcgetattr(fd, &before) < 0 || write(fd, text, strlen(text)) < 0)
        return -1;
    silent = before;
    silent.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
    caught = 0;
    sigemptyset(&sa.sa_mask);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        sigaction(signals[i], &sa, &old[i]);
    tcsetattr(fd, TCSAFLUSH, &silent);
    n = read_line(fd, line, size);
    tcsetattr(fd, TCSAFLUSH, &before);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        sigaction(signals[i], &old[i], NULL);
    if (write(fd, "\n", 1) < 0)
        n = -1;
    if (caught != 0)
        raise(caught);
    return n;
}

static int
ask_twice(int fd, const char *user, bool confirm, char *password, size_t size)
{
    char text[400], again[1024];
    int status = 0;

    snprintf(text, sizeof text, "Password for %s: ", user);
    if (prompt(fd, text, password, size) < 0)
        return ctl_fail(CTL_NO, "no password was given");
    if (!confirm)
        return 0;
    if (prompt(fd, "Again: ", again, sizeof again) < 0 || strcmp(password, again) != 0)
        status = ctl_fail(CTL_NO, "the two passwords differ");
    secret_wipe(again, sizeof again);
    return status;
}

int
ctl_read_password(const char *user, bool confirm, char *password, size_t size)
{
    int status = 0, fd;

    password[0] = '\0';
    if (isatty(STDIN_FILENO)) {
        fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
            return ctl_fail(CTL_TEMPORARY, "/dev/tty: %s", strerror(errno));
        status = ask_twice(fd, user, confirm, password, size);
        close(fd);
    } else if (read_line(STDIN_FILENO, password, size) < 0) {
        status = ctl_fail(CTL_NO,
                          "no password on the standard input, or one of more than %zu "
                          "octets",
                          size - 1);
    }
    if (status == 0 && password[0] == '\0')
        status = ctl_fail(CTL_NO, "an empty password isn't allowed");
    return status;
}

/*
 * mansioctl cert: a certificate to start with, and what is in one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "net/tls.h"
#include "proc/ctl.h"

#define DAYS_DEFAULT 825 /* the longest that Apple's clients accept */
#define DAYS_MAX     36500

static bool
is_loopback(const char *item, size_t len)
{
    static const char *const starts[] = {"127.", "[::1]", "localhost:", "unix:"};

    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++)
        if (len >= strlen(starts[i]) && strncmp(item, starts[i], strlen(starts[i])) == 0)
            return true;
    return false;
}

/* A server that listens on loopback addresses only is reached as localhost. */
static bool
only_loopback(const struct conf *conf)
{
    const char *lists[] = {conf->imap_listen, conf->imaps_listen, conf->pop3_listen,
                           conf->pop3s_listen};

    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        const char *pos = lists[i], *item;
        size_t len;

        while ((item = conf_list_next(&pos, &len)) != NULL)
            if (!is_loopback(item, len))
                return false;
    }
    return true;
}

int
ctl_cert_selfsigned(struct ctl *ctl, int argc, char **argv)
{
    struct tls_error err = {.text = ""};
    char name[256] = "localhost", *end;
    unsigned long days = DAYS_DEFAULT;
    const char *host = name;
    int result;

    if (argc >= 2 && strcmp(argv[0], "-d") == 0) {
        days = strtoul(argv[1], &end, 10);
        if (*end != '\0' || days < 1 || days > DAYS_MAX)
            return ctl_fail(CTL_USAGE, "%s: days are a number from 1 to %d", argv[1], DAYS_MAX);
        argc -= 2;
        argv += 2;
    }
    if (argc > 1 || (argc == 1 && argv[0][0] == '-'))
        return CTL_USAGE;
    if (ctl->conf->tls_certificate[0] == '\0' || ctl->conf->tls_key[0] == '\0')
        return ctl_fail(CTL_CONFIG,
                        "set tls_certificate and tls_key in %s to where the "
                        "certificate and its key shall be",
                        ctl->conf_file);
    if (argc == 1)
        host = argv[0];
    else if (!only_loopback(ctl->conf) && gethostname(name, sizeof name - 1) != 0)
        return ctl_fail(CTL_USAGE, "name the host that clients connect to");
    result = tls_make_selfsigned(ctl->conf->tls_certificate, ctl->conf->tls_key, host,
                                 (unsigned)days, &err);
    if (result != 0)
        return ctl_fail(ctl_status_of(result), "%s", err.text);
    printf("%s\n%s\nmade for %s, %lu days; a running server takes it by \"mansioctl reload\"\n",
           ctl->conf->tls_certificate, ctl->conf->tls_key, host, days);
    return CTL_OK;
}

int
ctl_cert_show(struct ctl *ctl, int argc, char **argv)
{
    const char *file = argc == 1 ? argv[0] : ctl->conf->tls_certificate;
    struct tls_error err = {.text = ""};
    char *text;
    int result;

    if (argc > 1)
        return CTL_USAGE;
    if (file[0] == '\0')
        return ctl_fail(CTL_CONFIG, "tls_certificate is empty: there is no certificate");
    result = tls_describe_certificate(file, &text, &err);
    if (result != 0)
        return ctl_fail(ctl_status_of(result), "%s", err.text);
    fputs(text, stdout);
    free(text);
    return CTL_OK;
}

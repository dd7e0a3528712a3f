/*
 * The table of mansioctl's subcommands, how one is found, and what they share; see ctl.h.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "proc/ctl.h"
#include "proc/setup.h"

const struct ctl_command ctl_commands[] = {
    {"user add", "[-s SCHEME] USER [KEY=VALUE ...]", "add a user; asks for the password",
     ctl_user_add, CTL_CONF},
    {"user passwd", "[-s SCHEME] USER", "set a user's password", ctl_user_passwd, CTL_CONF},
    {"user del", "USER", "delete a user; the mail stays", ctl_user_del, CTL_CONF},
    {"user list", "", "list the users", ctl_user_list, CTL_CONF},
    {"user test", "USER", "check a password, show what applies to the user", ctl_user_test,
     CTL_CONF},
    {"status", "", "show whether the server runs, and its pools", ctl_status, CTL_SERVER_CONF},
    {"who", "", "list the connections", ctl_who, CTL_SERVER_CONF},
    {"kick", "USER|SESSION|PID", "end sessions", ctl_kick, CTL_SERVER_CONF},
    {"reload", "", "read the configuration again", ctl_reload, CTL_SERVER_CONF},
    {"reopen", "", "open the log file again", ctl_reopen, CTL_SERVER_CONF},
    {"stop", "", "stop the server, and wait until it has stopped", ctl_stop, CTL_SERVER_CONF},
    {"cert selfsigned", "[-d DAYS] [HOST]", "make a self-signed certificate and its key",
     ctl_cert_selfsigned, CTL_CONF},
    {"cert show", "[FILE]", "describe the certificate", ctl_cert_show, CTL_CONF},
    {"config check", "", "print every error of the configuration", ctl_config_check,
     CTL_NO_CONF},
    {"mailbox check", "USER [FOLDER]", "compare a user's index with the Maildir",
     ctl_mailbox_check, CTL_CONF},
    {"mailbox rebuild", "USER [FOLDER]", "make a user's index anew from the Maildir",
     ctl_mailbox_rebuild, CTL_CONF},
    {"quota", "[-r] [USER ...]", "show how much mail users have, and may have", ctl_quota,
     CTL_CONF},
    {"import", "-a | USER ...", "take over what another server knows of the mail", ctl_import,
     CTL_CONF},
    {"export", "-a | [-p] [-f FOLDER] USER", "write the mail's UIDs for Dovecot", ctl_export,
     CTL_CONF},
    {"selftest", "[-v] DIRECTORY", "try out whether a file system can hold mail", ctl_selftest,
     CTL_NO_CONF},
    {"help", "[COMMAND]", "show the commands, or how one is used", ctl_help, CTL_NO_CONF},
    {NULL, NULL, NULL, NULL, CTL_NO_CONF},
};

int
ctl_fail(int status, const char *fmt, ...)
{
    va_list ap;

    fputs("mansioctl: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return status;
}

int
ctl_status_of(int err)
{
    switch (err) {
    case ERR_OK:
        return CTL_OK;
    case ERR_NOENT:
    case ERR_EXISTS:
    case ERR_CANNOT:
        return CTL_NO;
    case ERR_PERM:
    case ERR_READONLY:
        return CTL_PERMISSION;
    case ERR_CONFIG:
        return CTL_CONFIG;
    default:
        return CTL_TEMPORARY;
    }
}

void
ctl_print_fault(void *ctx, const char *file, int line, const char *text)
{
    (void)ctx;
    if (line > 0)
        fprintf(stderr, "%s:%d: %s\n", file, line, text);
    else
        fprintf(stderr, "%s: %s\n", file, text);
}

static void
print_command(FILE *to, const struct ctl_command *c)
{
    char use[64];

    snprintf(use, sizeof use, "%s %s", c->name, c->synopsis);
    fprintf(to, "  %-43s  %s\n", use, c->help);
}

/* How many words of argv are the command's name; 0 = it's another one. */
static int
words_matched(const struct ctl_command *c, int argc, char **argv)
{
    const char *space = strchr(c->name, ' ');
    size_t first = space != NULL ? (size_t)(space - c->name) : strlen(c->name);

    if (argc < 1 || strlen(argv[0]) != first || memcmp(argv[0], c->name, first) != 0)
        return 0;
    if (space == NULL)
        return 1;
    return argc >= 2 && strcmp(argv[1], space + 1) == 0 ? 2 : 0;
}

static const struct ctl_command *
find(int argc, char **argv, int *words)
{
    for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++) {
        *words = words_matched(c, argc, argv);
        if (*words > 0)
            return c;
    }
    return NULL;
}

/* The commands whose name begins with this word (NULL = all). How many. */
static int
print_group(FILE *to, const char *word)
{
    size_t len = word != NULL ? strlen(word) : 0;
    int n = 0;

    for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++) {
        if (word != NULL &&
            (strncmp(c->name, word, len) != 0 || (c->name[len] != ' ' && c->name[len] != '\0')))
            continue;
        print_command(to, c);
        n++;
    }
    return n;
}

int
ctl_help(struct ctl *ctl, int argc, char **argv)
{
    const struct ctl_command *c;
    int words;

    (void)ctl;
    if (argc == 0) {
        printf("usage: mansioctl [-c FILE] command ...\n\n");
        print_group(stdout, NULL);
        return CTL_OK;
    }
    c = find(argc, argv, &words);
    if (c != NULL)
        print_command(stdout, c);
    else if (print_group(stdout, argv[0]) == 0)
        return ctl_fail(CTL_USAGE, "there is no command %s; \"mansioctl help\" lists them",
                        argv[0]);
    return CTL_OK;
}

static int
unknown(int argc, char **argv)
{
    if (argc == 0) {
        fprintf(stderr, "usage: mansioctl [-c FILE] command ...\n\n");
        print_group(stderr, NULL);
        return CTL_USAGE;
    }
    fprintf(stderr, "mansioctl: there is no command %s%s%s\n", argv[0], argc > 1 ? " " : "",
            argc > 1 ? argv[1] : "");
    if (print_group(stderr, argv[0]) == 0)
        fprintf(stderr, "\"mansioctl help\" lists them\n");
    return CTL_USAGE;
}

int
ctl_run(struct ctl *ctl, int argc, char **argv)
{
    const struct ctl_command *c;
    int words = 0, status;

    c = find(argc, argv, &words);
    if (c == NULL)
        return unknown(argc, argv);
    if (c->wants == CTL_SERVER_CONF)
        ctl->conf = ctl_server_conf(ctl->conf_file);
    else if (c->wants == CTL_CONF &&
             conf_load(ctl->conf_file, ctl_print_fault, NULL, &ctl->conf) != 0)
        return CTL_CONFIG;
    status = c->run(ctl, argc - words, argv + words);
    if (status == CTL_USAGE && c->run != ctl_help) {
        fprintf(stderr, "usage: mansioctl [-c FILE] %s %s\n", c->name, c->synopsis);
    }
    conf_free(&ctl->conf);
    if (fflush(stdout) != 0 && status == CTL_OK)
        return ctl_fail(CTL_TEMPORARY, "writing failed");
    return status;
}

/* `config check`: what `mansiod -t` does. */
int
ctl_config_check(struct ctl *ctl, int argc, char **argv)
{
    struct setup *s;

    (void)argv;
    if (argc != 0)
        return CTL_USAGE;
    if (setup_load(ctl->conf_file, ctl_print_fault, NULL, &s) != 0)
        return CTL_CONFIG;
    setup_abandon(&s);
    printf("%s: no errors\n", ctl->conf_file);
    return CTL_OK;
}

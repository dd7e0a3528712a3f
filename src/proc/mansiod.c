/*
 * mansiod(8): the command line of the server. What it does with the answer is in master.c.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sys.h"
#include "proc/daemon.h"
#include "proc/master.h"

#define EXIT_USAGE 64

static void
print_fault(void *ctx, const char *file, int line, const char *text)
{
    (void)ctx;
    if (line > 0)
        fprintf(stderr, "%s:%d: %s\n", file, line, text);
    else
        fprintf(stderr, "%s: %s\n", file, text);
}

static int
check(const char *file, bool print)
{
    struct setup *s;

    if (print) {
        struct conf *conf;

        if (conf_load(file, print_fault, NULL, &conf) != 0)
            return EXIT_CONFIGURATION;
        conf_print(conf, stdout);
        conf_free(&conf);
        return fflush(stdout) == 0 ? 0 : EXIT_RESOURCES;
    }
    if (setup_load(file, print_fault, NULL, &s) != 0)
        return EXIT_CONFIGURATION;
    setup_abandon(&s);
    printf("%s: no errors\n", file);
    return 0;
}

static _Noreturn void
usage(void)
{
    fprintf(stderr, "usage: mansiod [-FtTV] [-c FILE]\n");
    exit(EXIT_USAGE);
}

int
main(int argc, char **argv)
{
    static struct master master; /* this process is one */
    const char *file = SYSCONFDIR "/mansio.conf";
    char path[PATH_MAX];
    bool test = false, print = false;
    int c;

    log_open("stderr", "mansiod");
    while ((c = getopt(argc, argv, "FtTVc:")) != -1) {
        switch (c) {
        case 'F':
            master.foreground = true;
            break;
        case 't':
            test = true;
            break;
        case 'T':
            print = true;
            break;
        case 'V':
            printf("mansiod " PACKAGE_VERSION "\n");
            return 0;
        case 'c':
            file = optarg;
            break;
        default:
            usage();
        }
    }
    if (optind < argc)
        usage();
    if (test || print)
        return check(file, print);
    daemon_program(argv);
    /* the daemon works in /, and reads the file again at each reload */
    if (realpath(file, path) == NULL) {
        log_error("%s: %s", file, strerror(errno));
        return EXIT_CONFIGURATION;
    }
    master.conf_file = path;
    sys_init();
    return master_run(&master);
}

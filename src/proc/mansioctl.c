/*
 * mansioctl(8): everything an administrator does. This is the command line; the subcommands are
 * in ctl.c and its neighbours.
 */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sys.h"
#include "proc/ctl.h"

int
main(int argc, char **argv)
{
    struct ctl ctl = {.conf_file = SYSCONFDIR "/mansio.conf"};
    int c;

    log_open("stderr", "mansioctl");
    umask(077);
    sys_init();
    /* "+": options behind the command's name are the command's */
    while ((c = getopt(argc, argv, "+c:V")) != -1) {
        switch (c) {
        case 'c':
            ctl.conf_file = optarg;
            break;
        case 'V':
            printf("mansioctl " PACKAGE_VERSION "\n");
            return 0;
        default:
            fprintf(stderr, "usage: mansioctl [-c FILE] command ...\n");
            return CTL_USAGE;
        }
    }
    return ctl_run(&ctl, argc - optind, argv + optind);
}
